/*
 * A load-balancing policy by latency: peak EWMA. Of a few endpoints drawn by chance a request goes to the one with the least cost, which
 * is how long its answers take (latency.h) times the requests that it would have then, more where it fails or is new.
 *
 * Envoy calls one balancer of each worker and cluster, on the worker's thread, and leaves to it what its own policies share: a try at
 * another endpoint, slow start, priorities, and that somebody gets the request while one is healthy.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../clock.h"
#include "latency.h"
#include "../module.h"

/** So many, since a share of the requests sees none of the fast endpoints else: of ten with three fast ones 8 % with five choices. */
enum { CHOICES = 8, PRIORITIES = 2 };

/** Endpoints are as fast as the fastest up to so many times its latency: it would get all that is asked at once else. */
static const double alike = 1.5;
/** An endpoint that always fails costs so many times as much, and one more. */
static const double failing_costs = 10;
/** A new endpoint costs so many times as much, but for this part of the draws at first. */
static const double new_costs = 10, new_at_first = 0.1;
/** An endpoint of a lower priority has to be so many times as cheap as one of a higher. */
static const double far_costs = 2;

struct policy {
  /** Of slow start, nanoseconds; 0: none. */
  double window;
  struct envoy_text namespace;
  char text[64];
};

struct host {
  struct place place;
  /** Since when it is known; 0 where it came with the balancer, and so is not new. */
  uint64_t since;
  /** Among all hosts of its priority, healthy or not. */
  uint32_t index;
};

/** Healthy hosts of one priority, as Envoy has them in order. */
struct hosts {
  struct host *all;
  size_t count;
  /** Of all hosts, when this was made. */
  size_t of;
};

struct balancer {
  const struct policy *policy;
  struct hosts priorities[PRIORITIES];
  bool is_current;
  /** Of its first request. */
  uint64_t since;
};

struct choice {
  double cost;
  double latency;
  uint32_t index;
  bool is_one;
  /** It has had the request, as all of its priority have. */
  bool is_again;
};

/** Empty where there is no slash, as from an older agent. */
static struct envoy_text behind_slash(struct envoy_text text) {
  const char *slash = text.length > 0 ? memchr(text.start, '/', text.length) : NULL;
  if (slash == NULL) return (struct envoy_text){"", 0};
  return (struct envoy_text){slash + 1, text.length - (size_t)(slash + 1 - text.start)};
}

static struct envoy_text copy(struct envoy_text text, char *to, size_t size) {
  size_t length = text.length < size ? text.length : size;
  memcpy(to, text.start, length);
  return (struct envoy_text){to, length};
}

static uint32_t draw(uint32_t below) {
  static _Thread_local uint64_t state;
  if (state == 0) state = clock_now() ^ (uintptr_t)&state ^ 0x9e3779b97f4a7c15u;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)((state >> 32) * below >> 32);
}

/**
 * @param name `peak-ewma/NAMESPACE`
 * @param config the window of slow start in milliseconds, in digits
 */
void *envoy_dynamic_module_on_lb_config_new(void *envoy, struct envoy_text name, struct envoy_text config) {
  (void)envoy;
  struct policy *policy = calloc(1, sizeof *policy);
  if (policy == NULL) return NULL;
  policy->namespace = copy(behind_slash(name), policy->text, sizeof policy->text);
  for (size_t at = 0; at < config.length; at++) {
    if (config.start[at] < '0' || config.start[at] > '9' || at > 10) {
      free(policy);
      return NULL;
    }
    policy->window = 10 * policy->window + (config.start[at] - '0') * 1e6;
  }
  return policy;
}

void envoy_dynamic_module_on_lb_config_destroy(void *config) { free(config); }

void *envoy_dynamic_module_on_lb_new(void *config, void *envoy) {
  (void)envoy;
  struct balancer *balancer = calloc(1, sizeof *balancer);
  if (balancer != NULL) balancer->policy = config;
  return balancer;
}

static void release_all(struct hosts *hosts) {
  for (size_t at = 0; at < hosts->count; at++) latency_release(hosts->all[at].place);
  free(hosts->all);
  *hosts = (struct hosts){0};
}

void envoy_dynamic_module_on_lb_destroy(void *in_module) {
  struct balancer *balancer = in_module;
  for (int priority = 0; priority < PRIORITIES; priority++) release_all(&balancer->priorities[priority]);
  free(balancer);
}

/** Also when one becomes healthy, or no longer is. What follows from it waits for a request: most clusters of a node have none. */
void envoy_dynamic_module_on_lb_on_host_membership_update(void *envoy, void *in_module, size_t added, size_t removed) {
  (void)envoy, (void)added, (void)removed;
  ((struct balancer *)in_module)->is_current = false;
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
static bool parse(struct envoy_text text, struct address *address) {
  size_t colon = text.length;
  while (colon > 0 && text.start[colon - 1] != ':') colon--;
  if (colon < 2) return false;
  uint32_t port = 0;
  for (size_t at = colon; at < text.length && port <= UINT16_MAX; at++) port = 10 * port + (uint32_t)(text.start[at] - '0');
  struct envoy_text ip = {text.start, colon - 1};
  if (ip.length > 1 && ip.start[0] == '[') ip = (struct envoy_text){ip.start + 1, ip.length - 2};
  return latency_parse(ip, port, address);
}

static bool is_same(struct envoy_text a, struct envoy_text b) {
  return a.length == b.length && memcmp(a.start, b.start, a.length) == 0;
}

/**
 * The index among all hosts of one that is among the healthy ones. They are in the same order there, so that the search goes on where the
 * last one ended.
 */
static uint32_t index_of(void *envoy, uint32_t priority, struct envoy_text address, size_t count, uint32_t from) {
  for (size_t step = 0; step < count; step++) {
    uint32_t index = (uint32_t)((from + step) % count);
    struct envoy_text other;
    if (envoy_dynamic_module_callback_lb_get_host_address(envoy, priority, index, &other) && is_same(address, other))
      return index;
  }
  return 0;
}

static void read_hosts(void *envoy, uint32_t priority, struct balancer *balancer, uint64_t now) {
  struct envoy_text namespace = balancer->policy->namespace;
  size_t of = envoy_dynamic_module_callback_lb_get_hosts_count(envoy, priority);
  size_t count = envoy_dynamic_module_callback_lb_get_healthy_hosts_count(envoy, priority);
  struct hosts found = {.all = calloc(count > 0 ? count : 1, sizeof(struct host)), .of = of};
  uint32_t from = 0;
  for (size_t at = 0; found.all != NULL && at < count; at++) {
    struct envoy_text text;
    struct address address;
    if (!envoy_dynamic_module_callback_lb_get_healthy_host_address(envoy, priority, at, &text)) break;
    struct host *host = &found.all[found.count++];
    host->index = index_of(envoy, priority, text, of, from);
    from = host->index + 1;
    // Endpoints that stay are acquired again before they are released.
    if (parse(text, &address)) host->place = latency_acquire(&address, namespace, now);
    if (balancer->since > 0 && host->place.since > balancer->since) host->since = host->place.since;
  }
  release_all(&balancer->priorities[priority]);
  balancer->priorities[priority] = found;
}

static bool has_changed(void *envoy, const struct balancer *balancer) {
  if (!balancer->is_current) return true;
  for (uint32_t priority = 0; priority < PRIORITIES; priority++) {
    const struct hosts *hosts = &balancer->priorities[priority];
    if (envoy_dynamic_module_callback_lb_get_healthy_hosts_count(envoy, priority) != hosts->count) return true;
    if (envoy_dynamic_module_callback_lb_get_hosts_count(envoy, priority) != hosts->of) return true;
  }
  return false;
}

/**
 * A new endpoint is dear but for its share of the draws, which grows to all of them: were it always a little dearer, it would get
 * nothing from a cluster that is mostly idle, and everything at once in the end.
 */
static double cost_of_newness(const struct balancer *balancer, const struct host *host, uint64_t now) {
  enum { WHOLE = 1 << 16 };
  double window = balancer->policy->window;
  double age = now > host->since ? (double)(now - host->since) : 0;
  if (age >= window) return 1;
  return draw(WHOLE) < WHOLE * fmax(age / window, new_at_first) ? 1 : new_costs;
}

struct candidate {
  const struct host *host;
  struct estimate estimate;
};

static bool was_tried(void *envoy, void *context, uint32_t priority, const struct host *host) {
  return context != NULL && envoy_dynamic_module_callback_lb_context_should_select_another_host(
                                envoy, context, priority, host->index);
}

/** Draws some hosts, each once, that have not had this request; all that there are where all have. */
static size_t draw_some(
    void *envoy, void *context, uint32_t priority, const struct hosts *hosts, uint64_t now, struct candidate *candidates) {
  size_t count = 0;
  uint32_t size = (uint32_t)hosts->count;
  uint32_t first = draw(size);
  // Beyond a few draws the rest is taken in order, so that the one that is left is found.
  for (uint32_t step = 0; step < size + 2 * CHOICES && count < CHOICES; step++) {
    uint32_t at = step < 2 * CHOICES && size > CHOICES ? draw(size) : (first + step) % size;
    const struct host *host = &hosts->all[at];
    bool is_drawn = false;
    for (size_t other = 0; other < count; other++) is_drawn |= candidates[other].host == host;
    if (is_drawn || was_tried(envoy, context, priority, host)) continue;
    candidates[count++] = (struct candidate){host, latency_estimate(host->place, now)};
  }
  return count;
}

/** @param least that an endpoint's latency counts for, nanoseconds */
static struct choice cheapest(
    void *envoy, void *context, const struct balancer *balancer, uint32_t priority, double least, uint64_t now) {
  const struct hosts *hosts = &balancer->priorities[priority];
  struct choice best = {0};
  if (hosts->count == 0) return best;
  struct candidate candidates[CHOICES];
  size_t count = draw_some(envoy, context, priority, hosts, now, candidates);
  best.is_again = count == 0;
  if (best.is_again) count = draw_some(envoy, NULL, priority, hosts, now, candidates);
  // Nobody knows how fast one is that has not answered yet: as the fastest of the others. What was known counts, not what
  // is left of it: one that hangs is silent, and would else seem faster the more requests wait there.
  double fastest = 0;
  for (size_t at = 0; at < count; at++) {
    double known = candidates[at].estimate.known;
    if (known > 0 && (fastest == 0 || known < fastest)) fastest = known;
  }
  if (fastest == 0) fastest = 1;
  for (size_t at = 0; at < count; at++) {
    const struct host *host = candidates[at].host;
    struct estimate estimate = candidates[at].estimate;
    double latency = fmax(fmax(estimate.latency, alike * fastest), least);
    double active = (double)envoy_dynamic_module_callback_lb_get_host_stat(
        envoy, priority, host->index, ENVOY_REQUESTS_ACTIVE);
    double cost =
        latency * (active + 1) * (1 + failing_costs * estimate.failing) * cost_of_newness(balancer, host, now);
    if (!best.is_one || cost < best.cost)
      best = (struct choice){cost, latency, (uint32_t)(host - hosts->all), true, best.is_again};
  }
  return best;
}

bool envoy_dynamic_module_on_lb_choose_host(
    void *envoy, void *in_module, void *context, uint32_t *priority, uint32_t *index) {
  struct balancer *balancer = in_module;
  uint64_t now = clock_now();
  if (has_changed(envoy, balancer)) {
    for (uint32_t each = 0; each < PRIORITIES; each++) read_hosts(envoy, each, balancer, now);
    if (balancer->since == 0) balancer->since = now;
    balancer->is_current = true;
  }
  struct choice near = cheapest(envoy, context, balancer, 0, 0, now);
  // An endpoint that is far and was not asked for long is not fast for that.
  struct choice far = cheapest(envoy, context, balancer, 1, near.latency, now);
  bool is_better = near.is_again == far.is_again ? far_costs * far.cost < near.cost : near.is_again;
  bool goes_far = far.is_one && (!near.is_one || is_better);
  *priority = goes_far;
  *index = goes_far ? far.index : near.index;
  return near.is_one || far.is_one;
}
