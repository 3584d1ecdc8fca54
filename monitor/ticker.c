/* The ticks: call the driver's functions on a schedule and keep what they say until it is taken.
 *
 * It knows nothing of NVML: monitor/ticker.py says what to call and makes records of the rows. It
 * is C because a tick of Python costs more than the reading itself: some 30 us of a core whose
 * caches another program has filled since the last one, a thousand times a second.
 *
 * One thread is in ticker_run, any other may be in the rest. Rows are stamped and kept under the
 * lock that ticker_take stamps under, so whatever is stamped by it comes after the rows it took.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 6 };
enum { STOPPED, REACHED, FAILED };
enum { NOT_ASKED = -1, NO_GROUP = -1 };

#define NS 1000000000LL
#define SLACK 1000LL /* ns by which a timer may be late for company's sake; 50 us unless told */
#define SHORTEST_SLICE 100000LL
#define LONGEST_SLEEP (NS / 20) /* so that a stop is heard */

typedef struct {
    void *function; /* int (device, result) or int (device, argument, result); null: not asked */
    void *device;
    int32_t argument; /* below 0: it takes none */
    uint32_t initial; /* what the result begins with: the version of a versioned structure */
} Call;

typedef struct {
    Call calls[CALLS];
    int32_t count;
    int32_t vital;    /* the first failure of its first call rests it, and ends ticker_run */
    int32_t resting;
    int32_t code;     /* that failure */
    int64_t interval; /* ns; 0: at every tick */
    int64_t due;
} Group;

typedef struct {
    int64_t begin; /* ns, of its tick */
    int64_t t;     /* ns, right after the readings */
    int32_t group;
    int32_t full;  /* ticks were left out before this one, as nobody took the rows */
    int32_t codes[CALLS];
    uint64_t words[CALLS]; /* a result begins at its call's own, and may fill those after it */
} Row;

typedef struct {
    Group *groups;
    Row *rows[2]; /* one is being filled, one was taken */
    int64_t interval, due;
    int32_t n_groups, capacity, filling, kept, full;
    volatile int32_t stopping;
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

static void keep(Ticker *k, Row *row) {
    pthread_mutex_lock(&k->lock);
    row->t = now();
    k->rows[k->filling][k->kept++] = *row;
    pthread_mutex_unlock(&k->lock);
}

static int has_room(Ticker *k) {
    pthread_mutex_lock(&k->lock);
    int room = k->kept + k->n_groups < k->capacity;
    pthread_mutex_unlock(&k->lock);
    return room;
}

/* One tick: a row of each group that is due, or one that says only that there was a tick. */
static int tick(Ticker *k, int64_t begin) {
    int rows = 0, failed = 0;
    for (int g = 0; g < k->n_groups; g++) {
        Group *group = &k->groups[g];
        if (group->resting || (group->interval && begin < group->due)) continue;
        if (group->interval) group->due = following(group->due, group->interval, begin);
        Row row = {.begin = begin, .group = g, .full = k->full};
        for (int c = 0; c < group->count; c++)
            row.codes[c] = ask(&group->calls[c], &row.words[c]);
        if (group->vital && row.codes[0]) {
            group->code = row.codes[0];
            group->resting = failed = 1;
        }
        keep(k, &row);
        rows++;
    }
    if (!rows) keep(k, &(Row){.begin = begin, .group = NO_GROUP, .full = k->full});
    k->full = 0;
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
    } brief = {.size = sizeof brief, .policy = SCHED_OTHER, .slice = SHORTEST_SLICE};
    prctl(PR_SET_TIMERSLACK, SLACK, 0, 0, 0);
    if (sched_setscheduler(0, SCHED_FIFO, &lowest)) syscall(SYS_sched_setattr, 0, &brief, 0);
}

/* Tick until told to stop, until that time (ns), or until a vital reading fails. */
int32_t ticker_run(Ticker *k, int64_t until) {
    while (!k->stopping) {
        int64_t begin = now(), next = k->due < until ? k->due : until;
        if (begin < next) {
            sleep_until(next - begin < LONGEST_SLEEP ? next : begin + LONGEST_SLEEP);
            continue;
        }
        if (until <= k->due) return REACHED;
        k->due = following(k->due, k->interval, begin);
        if (!has_room(k)) k->full = 1;
        else if (tick(k, begin)) return FAILED;
    }
    return STOPPED;
}

void ticker_stop(Ticker *k) { k->stopping = 1; }

/* Take the rows kept since the last time; they are valid until the next. Returns how many, and in
 * `t` a time that is not before theirs and not after that of any later row. */
int32_t ticker_take(Ticker *k, Row **rows, int64_t *t) {
    pthread_mutex_lock(&k->lock);
    int32_t kept = k->kept;
    *rows = k->rows[k->filling];
    *t = now();
    k->filling = !k->filling;
    k->kept = 0;
    pthread_mutex_unlock(&k->lock);
    return kept;
}

/* Returns null when there is no memory. The groups stay the caller's. */
Ticker *ticker_new(Group *groups, int32_t n_groups, int64_t interval, int64_t start,
                   int32_t capacity) {
    Ticker *k = calloc(1, sizeof *k);
    if (!k) return 0;
    for (int i = 0; i < 2; i++)
        if (!(k->rows[i] = malloc(sizeof(Row) * capacity))) return 0;
    k->groups = groups;
    k->n_groups = n_groups;
    k->interval = interval;
    k->due = start;
    k->capacity = capacity;
    pthread_mutex_init(&k->lock, 0);
    return k;
}
