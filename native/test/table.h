/* Checks of the table of endpoints. */
#ifndef LIGHTPATH_TEST_TABLE_H
#define LIGHTPATH_TEST_TABLE_H

#include <stdint.h>

/** By chance, of the harness's seed. */
unsigned draw(unsigned below);

/** The formula: an exponentially weighted mean over time, which each answer moves by 3 % at least. */
void compare_with_formula(uint64_t now);

/** 20,000 endpoints come and go, 250 at a time, in a table that has room for fewer. */
void come_and_go(uint64_t now);
/** Many namespaces take all the places that they can, one after the other, and each gets its part. */
void share_the_table(uint64_t now);

#endif
