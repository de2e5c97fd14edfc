#include <stdlib.h>

// The tests make many snapshots, and debug builds need not wait for the next second. Set before there is a thread.
__attribute__((constructor)) static void names_may_run_ahead(void) { setenv("TREERING_TEST_NAMES_AHEAD", "1", 0); }
