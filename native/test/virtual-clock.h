/* In place of clock.h, in a simulation: time is what it says. */
#define LIGHTPATH_CLOCK_H

#include <stdint.h>

uint64_t clock_now(void);
