/* A double of the driver's library: NVML's own symbols, scripted by the file $NVIDIA_DOUBLE_SCRIPT.
 *
 * The tests compile it to libnvidia-ml.so.1 and let the real nvidia-ml-py load it, so that all of
 * our code above the driver runs as it would on a GPU machine. The script is read again within
 * 5 ms of being replaced: a test changes the world by renaming a new file over it.
 *
 * One statement a line, names without spaces:
 *   driver VERSION | cuda NUMBER | init CODE | reset N
 *   gpu UUID NAME TOTAL USED RESERVED        indices in order of appearance
 *   mig UUID NAME TOTAL USED RESERVED PARENT-UUID
 *   proc UUID PID BYTES|na
 *   idle UUID                                utilisation, power, clocks and reasons are 0
 *   energy UUID MILLIJOULES-AT-START MILLIWATTS
 *   spike UUID BYTES PERIOD_US LENGTH_US     used rises periodically, by the monotonic clock
 *   error FUNCTION UUID|* FROM TO CODE       the nth to mth call of a function fails
 *   slow FUNCTION MICROSECONDS               a call takes that long (sleeping, as in the driver)
 * A new number after `reset` is a driver reset: handles of an earlier nvmlInit are lost.
 *
 * (Variables beginning with NVIDIA_ reach the processes that the orchestrator starts.)
 * $NVIDIA_DOUBLE_COUNTS names a file that gets "FUNCTION CALLS" lines when the process ends.
 * Compiled with -DOLD_DRIVER it lacks what drivers before 510 lack (memory v2, event reasons).
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK, UNINIT, BAD, UNSUPPORTED, NOPERM, NOTFOUND = 6, SMALL = 7, LOST = 15 };
enum { MAX = 64, EPOCHS = 64 };

typedef struct { int device, reset, init; } Handle;
typedef unsigned long long u64;
typedef struct { char uuid[80], name[80], parent[80]; u64 total, used, reserved; int index, idle; } Dev;
typedef struct { char uuid[80]; unsigned pid; u64 bytes; } Proc;
typedef struct { char function[80], uuid[80]; long from, to, seen; int code; } Rule;
typedef struct { char uuid[80]; u64 bytes, period, length; } Spike;
typedef struct { char uuid[80]; u64 start, milliwatts; } Energy;
typedef struct { char function[80]; long us; } Slow;
typedef struct { char function[80]; long n; } Count;

static Dev devs[MAX];
static Proc procs[1024];
static Rule rules[MAX];
static Spike spikes[MAX];
static Energy energies[MAX];
static Slow slows[MAX];
static Count counts[MAX];
static Handle handles[EPOCHS][MAX];
static int n_dev, n_proc, n_rule, n_spike, n_energy, n_slow, n_count;
static int reset_number, init_code, cuda = 13000, users, inits;
static char driver[80] = "580.00";
static struct timespec changed;
static u64 looked, loaded;

static u64 now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void statement(const char *line) {
    char word[32] = "", size[32];
    Dev d = {0};
    Proc p = {0};
    Rule r = {0};
    Spike s;
    Energy e;
    Slow w;
    sscanf(line, "%31s", word);
    sscanf(line, "driver %79s", driver);
    sscanf(line, "cuda %d", &cuda);
    sscanf(line, "init %d", &init_code);
    sscanf(line, "reset %d", &reset_number);
    if (sscanf(line, "%*s %79s %79s %llu %llu %llu %79s", d.uuid, d.name, &d.total, &d.used,
               &d.reserved, d.parent) >= 5 && (!strcmp(word, "gpu") || !strcmp(word, "mig"))) {
        for (int i = 0; i < n_dev; i++) d.index += !devs[i].parent[0];
        devs[n_dev++] = d;
    }
    for (int i = 0; i < n_dev; i++)
        if (sscanf(line, "idle %79s", d.name) == 1 && !strcmp(d.name, devs[i].uuid)) devs[i].idle = 1;
    if (sscanf(line, "proc %79s %u %31s", p.uuid, &p.pid, size) == 3) {
        p.bytes = strcmp(size, "na") ? strtoull(size, 0, 10) : ~0ULL;
        procs[n_proc++] = p;
    }
    if (sscanf(line, "error %79s %79s %ld %ld %d", r.function, r.uuid, &r.from, &r.to, &r.code) == 5)
        rules[n_rule++] = r;
    if (sscanf(line, "spike %79s %llu %llu %llu", s.uuid, &s.bytes, &s.period, &s.length) == 4)
        spikes[n_spike++] = s;
    if (sscanf(line, "energy %79s %llu %llu", e.uuid, &e.start, &e.milliwatts) == 3)
        energies[n_energy++] = e;
    if (sscanf(line, "slow %79s %ld", w.function, &w.us) == 2) slows[n_slow++] = w;
}

static void load(void) {
    const char *path = getenv("NVIDIA_DOUBLE_SCRIPT");
    struct stat info;
    char line[512];
    u64 now = now_us();
    if (now - looked < 5000) return;
    looked = now;
    if (!path || stat(path, &info)) return;
    if (!memcmp(&info.st_mtim, &changed, sizeof changed)) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    changed = info.st_mtim;
    n_dev = n_proc = n_rule = n_spike = n_energy = n_slow = init_code = 0;
    while (fgets(line, sizeof line, file)) statement(line);
    fclose(file);
    if (!loaded) loaded = now;
}

static void count(const char *function) {
    int i = 0;
    while (i < n_count && strcmp(counts[i].function, function)) i++;
    if (i == n_count && n_count < MAX) strcpy(counts[n_count++].function, function);
    if (i < MAX) counts[i].n++;
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("NVIDIA_DOUBLE_COUNTS");
    FILE *file = path ? fopen(path, "w") : 0;
    if (!file) return;
    for (int i = 0; i < n_count; i++) fprintf(file, "%s %ld\n", counts[i].function, counts[i].n);
    fclose(file);
}

/* Every call comes through here: the script's word on whether and how it fails. */
static int enter(const char *function, Handle *h) {
    load();
    count(function);
    for (int i = 0; i < n_slow; i++)
        if (!strcmp(slows[i].function, function)) usleep(slows[i].us);
    if (!users) return UNINIT;
    if (h && (h->reset != reset_number || h->init != inits)) return LOST;
    if (h && h->device >= n_dev) return BAD;
    for (int i = 0; i < n_rule; i++) {
        Rule *r = &rules[i];
        if (strcmp(r->function, function)) continue;
        if (strcmp(r->uuid, "*") && (!h || strcmp(r->uuid, devs[h->device].uuid))) continue;
        r->seen++;
        if (r->seen >= r->from && r->seen <= r->to) return r->code;
    }
    return OK;
}

static Dev *dev(Handle *h) { return &devs[h->device]; }

static int give(int device, Handle **out) {
    Handle *h = &handles[inits % EPOCHS][device];
    *h = (Handle){device, reset_number, inits};
    *out = h;
    return OK;
}

#define ENTER(h) do { int code_ = enter(__func__, h); if (code_) return code_; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    load();
    count(__func__);
    if (init_code) return init_code;
    if (!users++) inits++;
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    count(__func__);
    if (!users) return UNINIT;
    users--;
    return OK;
}
const char *nvmlErrorString(int code) { (void)code; return "scripted"; }
int nvmlSystemGetDriverVersion(char *out, unsigned n) { ENTER(0); snprintf(out, n, "%s", driver); return OK; }
int nvmlSystemGetCudaDriverVersion(int *out) { ENTER(0); *out = cuda; return OK; }

int nvmlDeviceGetCount_v2(unsigned *out) {
    ENTER(0);
    *out = 0;
    for (int i = 0; i < n_dev; i++) *out += !devs[i].parent[0];
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle **out) {
    ENTER(0);
    for (int i = 0; i < n_dev; i++)
        if (!devs[i].parent[0] && devs[i].index == (int)index) return give(i, out);
    return BAD;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Handle **out) {
    ENTER(0);
    for (int i = 0; i < n_dev; i++)
        if (!strcmp(devs[i].uuid, uuid)) return give(i, out);
    return NOTFOUND;
}
int nvmlDeviceGetUUID(Handle *h, char *out, unsigned n) { ENTER(h); snprintf(out, n, "%s", dev(h)->uuid); return OK; }
int nvmlDeviceGetCudaComputeCapability(Handle *h, int *major, int *minor) { ENTER(h); *major = 9; *minor = 0; return OK; }
int nvmlDeviceGetName(Handle *h, char *out, unsigned n) { ENTER(h); snprintf(out, n, "%s", dev(h)->name); return OK; }
int nvmlDeviceGetPciInfo_v3(Handle *h, void *out) {
    ENTER(h);
    memset(out, 0, 68);
    snprintf((char *)out + 36, 32, "00000000:%02X:00.0", dev(h)->index + 1);
    return OK;
}

static int busy(Handle *h) { return !dev(h)->idle; }
static u64 used(Dev *d) {
    u64 sum = d->used;
    for (int i = 0; i < n_spike; i++)
        if (!strcmp(spikes[i].uuid, d->uuid) && now_us() % spikes[i].period < spikes[i].length)
            sum += spikes[i].bytes;
    return sum;
}
int nvmlDeviceGetMemoryInfo(Handle *h, u64 *out) { /* total, free, used: the driver's share is used */
    ENTER(h);
    Dev *d = dev(h);
    out[0] = d->total;
    out[2] = used(d) + d->reserved;
    out[1] = out[0] - out[2];
    return OK;
}
#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(Handle *h, u64 *out) { /* version, total, reserved, free, used */
    ENTER(h);
    Dev *d = dev(h);
    if ((unsigned)out[0] != 0x02000028) return 25;
    out[1] = d->total;
    out[2] = d->reserved;
    out[4] = used(d);
    out[3] = out[1] - out[2] - out[4];
    return OK;
}
int nvmlDeviceGetCurrentClocksEventReasons(Handle *h, u64 *out) { ENTER(h); *out = busy(h) * 0x24; return OK; }
#endif
int nvmlDeviceGetCurrentClocksThrottleReasons(Handle *h, u64 *out) { ENTER(h); *out = busy(h) * 0x24; return OK; }
int nvmlDeviceGetUtilizationRates(Handle *h, unsigned *out) { ENTER(h); out[0] = busy(h) * 87; out[1] = busy(h) * 41; return OK; }
int nvmlDeviceGetPowerUsage(Handle *h, unsigned *out) { ENTER(h); *out = busy(h) * 345678; return OK; }
int nvmlDeviceGetEnforcedPowerLimit(Handle *h, unsigned *out) { ENTER(h); *out = 700000; return OK; }
int nvmlDeviceGetClockInfo(Handle *h, unsigned type, unsigned *out) { ENTER(h); *out = busy(h) * (type == 2 ? 2619 : 1980); return OK; }
int nvmlDeviceGetTemperature(Handle *h, unsigned sensor, unsigned *out) { ENTER(h); *out = 61 + sensor; return OK; }
int nvmlDeviceGetTotalEnergyConsumption(Handle *h, u64 *out) {
    ENTER(h);
    for (int i = 0; i < n_energy; i++)
        if (!strcmp(energies[i].uuid, dev(h)->uuid)) {
            *out = energies[i].start + (now_us() - loaded) / 1000 * energies[i].milliwatts / 1000;
            return OK;
        }
    return UNSUPPORTED;
}

typedef struct { unsigned pid; u64 bytes; unsigned gi, ci; } Info;
int nvmlDeviceGetComputeRunningProcesses_v3(Handle *h, unsigned *n, Info *out) {
    ENTER(h);
    unsigned room = *n, found = 0;
    for (int i = 0; i < n_proc; i++) {
        if (strcmp(procs[i].uuid, dev(h)->uuid)) continue;
        if (out && found < room) out[found] = (Info){procs[i].pid, procs[i].bytes, ~0u, ~0u};
        found++;
    }
    *n = found;
    return found > room ? SMALL : OK;
}

static int nth_instance(Dev *parent, int n) {
    for (int i = 0; i < n_dev; i++)
        if (!strcmp(devs[i].parent, parent->uuid) && n-- == 0) return i;
    return -1;
}
int nvmlDeviceGetMigMode(Handle *h, unsigned *now, unsigned *pending) {
    ENTER(h);
    *now = *pending = nth_instance(dev(h), 0) >= 0;
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(Handle *h, unsigned *out) { ENTER(h); *out = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(Handle *h, unsigned index, Handle **out) {
    ENTER(h);
    int i = nth_instance(dev(h), (int)index);
    return i < 0 ? NOTFOUND : give(i, out);
}
