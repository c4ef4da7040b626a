/* The tests that the harness runs first, each in the file of its name. They assert. */
#ifndef LIGHTPATH_TESTS_H
#define LIGHTPATH_TESTS_H

/** Random bytes, and what is known of some: detect.c. */
void test_detection(unsigned (*draw)(unsigned));
void test_server_first(void);
void test_crowd(void);
void test_patience(void);

#endif
