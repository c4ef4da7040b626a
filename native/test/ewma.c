/*
 * Plays Envoy to the load-balancing policy and the logger: ewma SEED STEPS. Several workers at once, each with clusters whose endpoints
 * come, go, fail and heal; and the estimates are compared with the formula in words of their own. Built with sanitizers.
 */

#include "../clock.h"
#include "../latency/latency.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../module.h"
#include "table.h"

enum { WORKERS = 3, CLUSTERS = 8, MOST_HOSTS = 24, ADDRESSES = 400 };

struct member {
  char text[64];
  unsigned number;
  bool is_healthy;
};

struct cluster {
  struct member members[2][MOST_HOSTS];
  size_t count[2];
  void *balancer;
};

/** A request: bits of the members, of each priority, that it was tried at. */
struct request {
  uint32_t tried[2];
};

struct record {
  char ip[64];
  uint32_t port;
  struct envoy_timing timing;
  uint32_t code;
  uint64_t flags;
  const char *grpc;
  const char *namespace;
};

static _Thread_local uint64_t state;
unsigned draw(unsigned below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (unsigned)(state % below);
}

static struct member *healthy(struct cluster *cluster, uint32_t priority, size_t index) {
  for (size_t at = 0; at < cluster->count[priority]; at++)
    if (cluster->members[priority][at].is_healthy && index-- == 0) return &cluster->members[priority][at];
  return NULL;
}

static void set(struct envoy_text *text, const char *value) { *text = (struct envoy_text){value, strlen(value)}; }

size_t envoy_dynamic_module_callback_lb_get_hosts_count(void *balancer, uint32_t priority) {
  return ((struct cluster *)balancer)->count[priority];
}

size_t envoy_dynamic_module_callback_lb_get_healthy_hosts_count(void *balancer, uint32_t priority) {
  size_t count = 0;
  while (healthy(balancer, priority, count) != NULL) count++;
  return count;
}

bool envoy_dynamic_module_callback_lb_get_host_address(
    void *balancer, uint32_t priority, size_t index, struct envoy_text *address) {
  struct cluster *cluster = balancer;
  assert(index < cluster->count[priority]);
  set(address, cluster->members[priority][index].text);
  return true;
}

bool envoy_dynamic_module_callback_lb_get_healthy_host_address(
    void *balancer, uint32_t priority, size_t index, struct envoy_text *address) {
  struct member *member = healthy(balancer, priority, index);
  assert(member != NULL);
  set(address, member->text);
  return true;
}

uint64_t envoy_dynamic_module_callback_lb_get_host_stat(void *balancer, uint32_t priority, size_t index, int stat) {
  struct cluster *cluster = balancer;
  assert(stat == ENVOY_REQUESTS_ACTIVE && index < cluster->count[priority] && cluster->members[priority][index].is_healthy);
  return draw(4);
}

bool envoy_dynamic_module_callback_lb_context_should_select_another_host(
    void *balancer, void *context, uint32_t priority, size_t index) {
  assert(index < ((struct cluster *)balancer)->count[priority]);
  return ((struct request *)context)->tried[priority] >> index & 1;
}

bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(
    void *logger, struct envoy_text *ip, uint32_t *port) {
  struct record *record = logger;
  if (record->port == 0) return false;
  set(ip, record->ip);
  *port = record->port;
  return true;
}

bool envoy_dynamic_module_callback_access_logger_get_route_name(void *logger, struct envoy_text *name) {
  struct record *record = logger;
  if (record->namespace == NULL) return false;
  set(name, record->namespace);
  return true;
}

void envoy_dynamic_module_callback_access_logger_get_timing_info(void *logger, struct envoy_timing *timing) {
  *timing = ((struct record *)logger)->timing;
}

uint32_t envoy_dynamic_module_callback_access_logger_get_response_code(void *logger) {
  return ((struct record *)logger)->code;
}

uint64_t envoy_dynamic_module_callback_access_logger_get_response_flags(void *logger) {
  return ((struct record *)logger)->flags;
}

bool envoy_dynamic_module_callback_access_logger_get_header_value(
    void *logger, int headers, struct envoy_text name, struct envoy_text *value, size_t index, size_t *count) {
  struct record *record = logger;
  assert(headers == ENVOY_RESPONSE_HEADERS && name.length == 11 && index == 0 && count == NULL);
  if (record->grpc == NULL) return false;
  set(value, record->grpc);
  return true;
}

static void write_ip(char *text, unsigned number) {
  if (number % 3 == 0) snprintf(text, 64, "fd00:244::%x", number);
  else snprintf(text, 64, "10.244.%u.%u", number / 256, number % 256);
}

static void add(struct cluster *cluster, uint32_t priority) {
  if (cluster->count[priority] == MOST_HOSTS) return;
  unsigned number = draw(ADDRESSES) + 1;
  for (int each = 0; each < 2; each++)
    for (size_t at = 0; at < cluster->count[each]; at++)
      if (cluster->members[each][at].number == number) return;
  struct member *member = &cluster->members[priority][cluster->count[priority]++];
  char ip[64];
  write_ip(ip, number);
  *member = (struct member){.number = number, .is_healthy = draw(5) > 0};
  snprintf(member->text, sizeof member->text, number % 3 == 0 ? "[%.50s]:8080" : "%.50s:8080", ip);
}

static void change(struct cluster *cluster) {
  uint32_t priority = draw(3) == 0;
  size_t *count = &cluster->count[priority];
  struct member *members = cluster->members[priority];
  unsigned what = draw(4);
  if (what < 2) {
    add(cluster, priority);
  } else if (*count > 0 && what == 2) {
    size_t at = draw((unsigned)*count);
    memmove(&members[at], &members[at + 1], (*count - at - 1) * sizeof *members);
    (*count)--;
  } else if (*count > 0) {
    members[draw((unsigned)*count)].is_healthy ^= 1;
  }
  envoy_dynamic_module_on_lb_on_host_membership_update(cluster, cluster->balancer, what < 2, what == 2);
}

static void choose(struct cluster *cluster) {
  struct request request = {{draw(4) == 0 ? (uint32_t)state : 0, draw(4) == 0 ? (uint32_t)(state >> 32) : 0}};
  uint32_t priority, index;
  bool has_context = draw(8) > 0;
  bool chosen = envoy_dynamic_module_on_lb_choose_host(
      cluster, cluster->balancer, has_context ? &request : NULL, &priority, &index);
  bool is_any = healthy(cluster, 0, 0) != NULL || healthy(cluster, 1, 0) != NULL;
  assert(chosen == is_any);
  if (!chosen) return;
  struct member *member = priority < 2 ? healthy(cluster, priority, index) : NULL;
  assert(member != NULL);
  if (!has_context) return;
  // One that has had the request gets it again where all have.
  size_t at = (size_t)(member - cluster->members[priority]);
  if (!(request.tried[priority] >> at & 1)) return;
  for (int each = 0; each < 2; each++)
    for (size_t other = 0; other < cluster->count[each]; other++)
      assert(!cluster->members[each][other].is_healthy || request.tried[each] >> other & 1);
}

static int64_t moment(void) { return draw(4) == 0 ? -1 : (int64_t)draw(1000000000); }

static void log_one(void) {
  static const char *const namespaces[] = {"shop", "bank"};
  static const char *const statuses[] = {"0", "14", "", "x", "999999", "12"};
  struct record record = {
      .port = draw(20) == 0 ? draw(2) * 70000 : 8080,
      .timing = {1, moment(), moment(), moment(), moment(), moment(), moment(), moment()},
      .code = draw(3) == 0 ? 503 : 200 * draw(2),
      .flags = draw(2) == 0 ? state : 0,
      .grpc = draw(4) == 0 ? statuses[draw(6)] : NULL,
      .namespace = draw(8) == 0 ? NULL : namespaces[draw(2)],
  };
  write_ip(record.ip, draw(ADDRESSES) + 1);
  if (draw(50) == 0) strcpy(record.ip, "not an address that anybody would have, and a long one");
  envoy_dynamic_module_on_access_logger_log(&record, NULL, 0);
}

static uint64_t steps;
static uint64_t seeds[WORKERS];

static void *work(void *seed) {
  state = *(uint64_t *)seed;
  struct envoy_text name = {"peak-ewma/shop", draw(2) == 0 ? 14 : 9};
  void *config = envoy_dynamic_module_on_lb_config_new(NULL, name, (struct envoy_text){"2000", 4});
  struct cluster *clusters = calloc(CLUSTERS, sizeof *clusters);
  for (int at = 0; at < CLUSTERS; at++) clusters[at].balancer = envoy_dynamic_module_on_lb_new(config, &clusters[at]);
  for (uint64_t step = 0; step < steps; step++) {
    struct cluster *cluster = &clusters[draw(CLUSTERS)];
    unsigned what = draw(100);
    if (what < 10) {
      change(cluster);
    } else if (what < 60) {
      choose(cluster);
    } else if (what < 99) {
      log_one();
    } else {
      envoy_dynamic_module_on_lb_destroy(cluster->balancer);
      *cluster = (struct cluster){.balancer = envoy_dynamic_module_on_lb_new(config, cluster)};
    }
  }
  for (int at = 0; at < CLUSTERS; at++) envoy_dynamic_module_on_lb_destroy(clusters[at].balancer);
  envoy_dynamic_module_on_lb_config_destroy(config);
  free(clusters);
  return NULL;
}

/** 10,000 clusters at once, as a node with as many Services has them: of most nobody asks anything. */
static void have_many_clusters(void) {
  enum { MANY = 10000 };
  void *config = envoy_dynamic_module_on_lb_config_new(NULL, (struct envoy_text){"", 0}, (struct envoy_text){"0", 1});
  struct cluster *clusters = calloc(MANY, sizeof *clusters);
  assert(config != NULL && clusters != NULL);
  for (int at = 0; at < MANY; at++) {
    clusters[at].balancer = envoy_dynamic_module_on_lb_new(config, &clusters[at]);
    for (int member = 0; member < 10; member++) add(&clusters[at], 0);
    envoy_dynamic_module_on_lb_on_host_membership_update(&clusters[at], clusters[at].balancer, 10, 0);
  }
  for (int step = 0; step < 3 * MANY; step++) choose(&clusters[draw(MANY)]);
  for (int at = 0; at < MANY; at++) envoy_dynamic_module_on_lb_destroy(clusters[at].balancer);
  envoy_dynamic_module_on_lb_config_destroy(config);
  free(clusters);
}

int main(int count, char **words) {
  assert(count >= 3);
  state = strtoull(words[1], NULL, 10) * 2654435761u + 88172645463325252u;
  steps = strtoull(words[2], NULL, 10);
  if (count > 3) latency_keep_in((struct envoy_text){words[3], strlen(words[3])});
  pthread_t threads[WORKERS];
  for (int at = 0; at < WORKERS; at++) {
    seeds[at] = state + (uint64_t)at * 7919;
    assert(pthread_create(&threads[at], NULL, work, &seeds[at]) == 0);
  }
  for (int at = 0; at < WORKERS; at++) pthread_join(threads[at], NULL);
  have_many_clusters();
  uint64_t now = clock_now() + 3600000000000u;
  compare_with_formula(now);
  come_and_go(now + 1000000000000000u);
  share_the_table(now + 2000000000000000u);
  puts("ok");
}
