/*
 * Counts how often a thread releases the GIL, by the library that does. It is preloaded,
 * so that it stands before Python's own function, and is used by gil.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define MOST 256

static struct {
    void *caller;
    long count;
} releases[MOST];

static __thread int counting;

/* Begin anew in this thread, or end. */
void gil_count(int on) {
    if (on)
        memset(releases, 0, sizeof releases);
    counting = on;
}

/* Return the file of a library that has released it, and how often; NULL behind the last. */
const char *gil_released(int number, long *count) {
    Dl_info info;
    if (number >= MOST || !releases[number].caller)
        return NULL;
    *count = releases[number].count;
    return dladdr(releases[number].caller, &info) ? info.dli_fname : "";
}

void *PyEval_SaveThread(void) {
    static void *(*pythons)(void);
    if (!pythons)
        pythons = (void *(*)(void))dlsym(RTLD_NEXT, "PyEval_SaveThread");
    if (counting) {
        void *caller = __builtin_return_address(0);
        int i = 0;
        while (i < MOST - 1 && releases[i].caller && releases[i].caller != caller)
            i++;
        releases[i].caller = caller;
        releases[i].count++;
    }
    return pythons();
}
