/* What Envoy asks of a module as a whole. */

#include "module.h"

/** The ABI that this module is built for. Envoy only warns where it has another, so whoever configures it must check. */
const char *envoy_dynamic_module_on_program_init(void) { return ENVOY_ABI; }
