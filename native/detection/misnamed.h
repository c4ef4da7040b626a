/*
 * How the module reports that a port that is named http speaks something else: as metadata of the connection, by which the access log
 * chooses what the agent gets to hear (envoy/resources/observations.ts).
 */
#ifndef LIGHTPATH_MISNAMED_H
#define LIGHTPATH_MISNAMED_H

#include "../envoy.h"

static const struct envoy_text metadata_namespace = {"lightpath", 9}, spoke_key = {"spoke", 5};

/** That the client spoke first, and no HTTP, whether that is reported or not. */
static const struct envoy_text client_first_key = {"client-first", 12};

enum misnamed_by { BY_CLIENT, BY_SERVER, MISNAMED_KINDS };

/**
 * Whether one more connection to this address and port of its client's choice may be reported. A worker reports some of each kind a
 * second, whatever comes of the other, and few of them of one address and port.
 */
bool misnamed_may_report(enum misnamed_by kind, struct envoy_text ip, uint32_t port);

#endif
