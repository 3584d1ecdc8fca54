/* The ticks: call the driver's functions on a schedule and keep what they say until it is taken.
 *
 * It knows nothing of NVML: monitor/ticker.py says what to call and what to write. It is C because
 * a tick of Python costs more than the reading itself: some 30 us of a core whose caches another
 * program has filled since the last one, a thousand times a second. For the same reason the line of
 * a plain reading is written here; what is rare goes to Python as a row.
 *
 * One thread is in ticker_run, any other may be in the rest. Everything is stamped and kept under
 * the lock that ticker_take stamps under, so whatever is stamped by it comes after what it took.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 6, NUMBERS = 3 };
enum { STOPPED, REACHED, FAILED };
enum { NOT_SCHEDULED, SLOW_READINGS, SLOW_DISK }; /* why ticks were missed */
enum { NOT_ASKED = -1, MISSED = -1, NOTED = -2 };

#define NS 1000000000LL
#define SLACK 1000LL /* ns by which a timer may be late for company's sake; 50 us unless told */
#define SHORTEST_SLICE 100000LL
#define LONGEST_SLEEP (NS / 20) /* so that a stop is heard */
#define LONGEST_LINE 512

typedef struct {
    void *function; /* int (device, result) or int (device, argument, result); null: not asked */
    void *device;
    int32_t argument; /* below 0: it takes none */
    uint32_t initial; /* what the result begins with: the version of a versioned structure */
} Call;

/* What is read together. A vital group has one call; while that succeeds its reading becomes a line,
 * pieces[0] time pieces[1] number pieces[2] ..., of the words at `places`. Its first failure is a
 * row, rests the group and ends ticker_run. Any other group's readings are rows. */
typedef struct {
    Call calls[CALLS];
    int32_t count, vital, resting;
    int32_t code;     /* of a vital group's latest reading */
    int64_t interval; /* ns; 0: at every tick */
    int64_t due;
    const char *pieces[NUMBERS + 2];
    int32_t places[NUMBERS], numbers;
    uint64_t latest, highest; /* of the first number */
    int64_t read_at;          /* when that was */
} Group;

typedef struct {
    int64_t t;      /* ns, right after the readings */
    int64_t late;   /* ns, if ticks were missed */
    int32_t group;  /* or MISSED, NOTED */
    int32_t cause;
    int32_t offset; /* in the text: it belongs there */
    int32_t codes[CALLS];
    uint64_t words[CALLS]; /* a result begins at its call's own, and may fill those after it */
} Row;

typedef struct {
    char *text;
    Row *rows;
    int64_t *lates; /* ns that each tick was late */
    int32_t n_text, n_rows, n_ticks;
    int64_t t; /* when it was taken */
} Kept;

typedef struct {
    Group *groups;
    Kept kept[2]; /* one is being filled, one was taken */
    int64_t interval, due;
    int64_t owed;  /* the first tick that is not counted, done or missed */
    int64_t ended; /* the latest tick's readings */
    int32_t n_groups, capacity, filling, full, notes;
    _Atomic int32_t stopping;
    pthread_mutex_t lock;
} Ticker;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS + t.tv_nsec;
}

static void sleep_until(int64_t due) {
    struct timespec t = {due / NS, due % NS};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0) == EINTR) {}
}

/* The schedule's next tick after one that was due at `due` and begins at `begin`. */
static int64_t following(int64_t due, int64_t interval, int64_t begin) {
    return due + interval * ((begin - due) / interval + 1);
}

static int32_t ask(const Call *call, uint64_t *result) {
    void *function = call->function;
    if (!function) return NOT_ASKED;
    *result = call->initial;
    if (call->argument < 0) return ((int32_t(*)(void *, void *))function)(call->device, result);
    return ((int32_t(*)(void *, int32_t, void *))function)(call->device, call->argument, result);
}

static char *piece(char *at, const char *text) {
    size_t length = strlen(text);
    return (char *)memcpy(at, text, length) + length;
}

static char *number(char *at, uint64_t value) {
    char digits[20];
    int n = 0;
    do digits[n++] = '0' + value % 10;
    while (value /= 10);
    while (n) *at++ = digits[--n];
    return at;
}

static void write_line(Kept *kept, const Group *group, const Row *row) {
    char *at = kept->text + kept->n_text;
    at = number(piece(at, group->pieces[0]), row->t);
    for (int n = 0; n < group->numbers; n++)
        at = number(piece(at, group->pieces[n + 1]), row->words[group->places[n]]);
    kept->n_text = piece(at, group->pieces[group->numbers + 1]) - kept->text;
}

static void keep(Ticker *k, Row *row, const Group *line) {
    pthread_mutex_lock(&k->lock);
    Kept *kept = &k->kept[k->filling];
    row->t = now();
    row->offset = kept->n_text;
    if (line) write_line(kept, line, row);
    else kept->rows[kept->n_rows++] = *row;
    pthread_mutex_unlock(&k->lock);
}

/* Keep the place of a line that Python has, if there is room for it; says so. */
int32_t ticker_note(Ticker *k) {
    if (k->notes >= k->capacity) return 0;
    k->notes++;
    keep(k, &(Row){.group = NOTED}, 0);
    return 1;
}

/* Count a tick, if there is room for it; says so. */
static int count(Ticker *k, int64_t late) {
    pthread_mutex_lock(&k->lock);
    Kept *kept = &k->kept[k->filling];
    int room = kept->n_ticks < k->capacity;
    if (room) kept->lates[kept->n_ticks++] = late;
    pthread_mutex_unlock(&k->lock);
    return room;
}

static int read_group(Ticker *k, int g) {
    Group *group = &k->groups[g];
    Row row = {.group = g};
    for (int c = 0; c < group->count; c++) row.codes[c] = ask(&group->calls[c], &row.words[c]);
    if (!group->vital) return keep(k, &row, 0), 0;
    group->code = row.codes[0];
    group->resting = group->code != 0;
    if (!group->code) {
        group->latest = row.words[group->places[0]];
        if (group->latest > group->highest) group->highest = group->latest;
    }
    keep(k, &row, group->code ? 0 : group);
    if (!group->code) group->read_at = row.t;
    return group->resting;
}

static int tick(Ticker *k, int64_t begin) {
    int failed = 0;
    for (int g = 0; g < k->n_groups; g++) {
        Group *group = &k->groups[g];
        if (group->resting || (group->interval && begin < group->due)) continue;
        if (group->interval) group->due = following(group->due, group->interval, begin);
        failed |= read_group(k, g);
    }
    k->ended = now();
    return failed;
}

/* Have this thread woken at once. In turn with the others it may find a busy program on its core and
 * wait for the end of that one's slice, which is 3 ms. Real-time priority ends that, where it is
 * permitted; elsewhere a short slice does, mostly, since Linux 6.12, and is not heard before. */
void ticker_hurry(void) {
    struct sched_param lowest = {.sched_priority = 1};
    struct { /* sched_attr, which older headers lack */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice, deadline, period;
    } brief = {.size = sizeof brief, .policy = SCHED_OTHER, .slice = SHORTEST_SLICE,
               .nice = getpriority(PRIO_PROCESS, 0)};
    prctl(PR_SET_TIMERSLACK, SLACK, 0, 0, 0);
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest))
        syscall(SYS_sched_setattr, 0, &brief, 0);
}

/* Tick until told to stop, until that time (ns), or until a vital reading fails. */
int32_t ticker_run(Ticker *k, int64_t until) {
    if (k->ended) k->ended = now(); /* what was done about a failure is part of its tick */
    while (!k->stopping) {
        int64_t begin = now(), due = k->due, next = due < until ? due : until;
        if (begin < next) {
            sleep_until(next - begin < LONGEST_SLEEP ? next : begin + LONGEST_SLEEP);
            continue;
        }
        if (until <= due) return REACHED;
        k->due = following(due, k->interval, begin);
        int64_t late = begin - k->owed;
        if (!count(k, late)) {
            k->full = 1;
            continue;
        }
        if (late >= k->interval) {
            int cause = k->full ? SLOW_DISK : k->ended >= due ? SLOW_READINGS : NOT_SCHEDULED;
            keep(k, &(Row){.group = MISSED, .late = late, .cause = cause}, 0);
        }
        k->owed = k->due;
        k->full = 0;
        if (tick(k, begin)) return FAILED;
    }
    return STOPPED;
}

void ticker_stop(Ticker *k) { k->stopping = 1; }

/* Take what was kept since the last time; it is valid until the next. Its `t` is not before any time
 * in it, and not after any that is kept later. */
Kept *ticker_take(Ticker *k) {
    pthread_mutex_lock(&k->lock);
    Kept *taken = &k->kept[k->filling];
    taken->t = now();
    k->filling = !k->filling;
    Kept *next = &k->kept[k->filling];
    next->n_text = next->n_rows = next->n_ticks = k->notes = 0;
    pthread_mutex_unlock(&k->lock);
    return taken;
}

/* `capacity` is in ticks. Returns null when there is no memory. The groups stay the caller's. */
Ticker *ticker_new(Group *groups, int32_t n_groups, int64_t interval, int64_t start,
                   int32_t capacity) {
    Ticker *k = calloc(1, sizeof *k);
    if (!k) return 0;
    for (int i = 0; i < 2; i++) {
        k->kept[i].text = malloc((size_t)capacity * n_groups * LONGEST_LINE + 1);
        k->kept[i].rows = malloc((size_t)capacity * (n_groups + 2) * sizeof(Row));
        k->kept[i].lates = malloc((size_t)capacity * sizeof(int64_t));
        if (!k->kept[i].text || !k->kept[i].rows || !k->kept[i].lates) return 0;
    }
    k->groups = groups;
    k->n_groups = n_groups;
    k->interval = interval;
    k->due = k->owed = start;
    k->capacity = capacity - 1; /* a take may come between a tick's count and its rows */
    pthread_mutex_init(&k->lock, 0);
    return k;
}
