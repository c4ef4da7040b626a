/* The tests that the harness runs first, each in the file of its name. They assert. */
#ifndef LIGHTPATH_TESTS_H
#define LIGHTPATH_TESTS_H

#include <stdint.h>

/** Random bytes, and what is known of some: detect.c. */
void test_detection(unsigned (*draw)(unsigned));
void test_server_first(void);
void test_patience(void);
void test_silent(unsigned (*draw)(unsigned));

/** Makes the calls that are due after so many more milliseconds: later.c. */
void run_later(uint64_t ms);

#endif
