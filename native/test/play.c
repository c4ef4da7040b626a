/* Plays Envoy to the policy, and its own LEAST_REQUEST beside it: of two endpoints that with fewer requests in flight. */

#include "../latency/latency.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../module.h"
#include "play.h"

enum { MOST_HOSTS = 16, MOST_EVENTS = 1 << 17 };

struct host {
  char text[64];
  char ip[32];
  double delay;
  /** Stands still so long, so often. */
  double stall, every;
  /** Answers nothing any more. 0: never. */
  double hangs_at;
  /** Requests at a time; 0: all. Each has the time when it is free. */
  unsigned workers;
  double free_at[8];
  unsigned active;
  unsigned requests;
};

struct cluster {
  struct host hosts[2][MOST_HOSTS];
  size_t count[2];
  void *balancer;
};

/** An answer, that comes at this time. */
struct answer {
  double at, due, sent;
  struct host *host;
};

static double now = 1e12;
static uint64_t state;
static struct answer answers[MOST_EVENTS];
static size_t waiting;
static double times[MOST_EVENTS];

uint64_t clock_now(void) { return (uint64_t)now; }

static double draw(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (double)(state >> 11) / (double)(1ull << 53);
}

static void set(struct envoy_text *text, const char *value) { *text = (struct envoy_text){value, strlen(value)}; }

size_t envoy_dynamic_module_callback_lb_get_hosts_count(void *balancer, uint32_t priority) {
  return ((struct cluster *)balancer)->count[priority];
}

size_t envoy_dynamic_module_callback_lb_get_healthy_hosts_count(void *balancer, uint32_t priority) {
  return ((struct cluster *)balancer)->count[priority];
}

bool envoy_dynamic_module_callback_lb_get_host_address(
    void *balancer, uint32_t priority, size_t index, struct envoy_text *address) {
  set(address, ((struct cluster *)balancer)->hosts[priority][index].text);
  return true;
}

bool envoy_dynamic_module_callback_lb_get_healthy_host_address(
    void *balancer, uint32_t priority, size_t index, struct envoy_text *address) {
  return envoy_dynamic_module_callback_lb_get_host_address(balancer, priority, index, address);
}

uint64_t envoy_dynamic_module_callback_lb_get_host_stat(void *balancer, uint32_t priority, size_t index, int stat) {
  assert(stat == ENVOY_REQUESTS_ACTIVE);
  return ((struct cluster *)balancer)->hosts[priority][index].active;
}

bool envoy_dynamic_module_callback_lb_context_should_select_another_host(
    void *balancer, void *context, uint32_t priority, size_t index) {
  (void)balancer, (void)context, (void)priority, (void)index;
  return false;
}

bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(
    void *logger, struct envoy_text *ip, uint32_t *port) {
  set(ip, ((struct answer *)logger)->host->ip);
  *port = 8080;
  return true;
}

bool envoy_dynamic_module_callback_access_logger_get_route_name(void *logger, struct envoy_text *name) {
  (void)logger, (void)name;
  return false;
}

void envoy_dynamic_module_callback_access_logger_get_timing_info(void *logger, struct envoy_timing *timing) {
  const struct answer *answer = logger;
  int64_t took = (int64_t)(answer->at - answer->sent);
  *timing = (struct envoy_timing){1, took, 0, 0, took, took, took, took};
}

uint32_t envoy_dynamic_module_callback_access_logger_get_response_code(void *logger) {
  (void)logger;
  return 200;
}

uint64_t envoy_dynamic_module_callback_access_logger_get_response_flags(void *logger) {
  (void)logger;
  return 0;
}

bool envoy_dynamic_module_callback_access_logger_get_header_value(
    void *logger, int headers, struct envoy_text name, struct envoy_text *value, size_t index, size_t *count) {
  (void)logger, (void)headers, (void)name, (void)value, (void)index, (void)count;
  return false;
}

/** A heap with the next answer first. */
static void push(struct answer answer) {
  size_t at = waiting++;
  assert(waiting < MOST_EVENTS);
  for (; at > 0 && answers[(at - 1) / 2].at > answer.at; at = (at - 1) / 2) answers[at] = answers[(at - 1) / 2];
  answers[at] = answer;
}

static struct answer pop(void) {
  struct answer first = answers[0], last = answers[--waiting];
  size_t at = 0;
  for (size_t child = 1; child < waiting; at = child, child = 2 * at + 1) {
    if (child + 1 < waiting && answers[child + 1].at < answers[child].at) child++;
    if (answers[child].at >= last.at) break;
    answers[at] = answers[child];
  }
  answers[at] = last;
  return first;
}

static double answered_at(struct host *host, const struct scene *scene) {
  double begins = now;
  unsigned worker = 0;
  for (unsigned each = 1; each < host->workers; each++)
    if (host->free_at[each] < host->free_at[worker]) worker = each;
  if (host->workers > 0) begins = fmax(begins, host->free_at[worker]);
  double ends = begins;
  if (host->every > 0 && fmod(begins, host->every) < host->stall) ends += host->stall - fmod(begins, host->every);
  ends += host->delay * (1 - scene->jitter * log(1 - draw()));
  if (draw() < scene->hiccups) ends += (5 + 45 * draw()) * ms;
  if (host->workers > 0) host->free_at[worker] = ends;
  if (host->hangs_at > 0 && ends >= host->hangs_at) ends += 3600 * second;
  return ends;
}

static struct host *fewer_requests(struct cluster *cluster) {
  struct host *a = &cluster->hosts[0][(size_t)(draw() * (double)cluster->count[0])];
  struct host *b = &cluster->hosts[0][(size_t)(draw() * (double)cluster->count[0])];
  return a->active <= b->active ? a : b;
}

static struct host *by_latency(struct cluster *cluster) {
  uint32_t priority, index;
  bool chosen = envoy_dynamic_module_on_lb_choose_host(cluster, cluster->balancer, cluster, &priority, &index);
  assert(chosen);
  return &cluster->hosts[priority][index];
}

void play_seed(uint64_t seed) { state = seed * 2654435761u + 88172645463325252u; }

static int compare(const void *a, const void *b) {
  double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

static void build(struct cluster *cluster, const struct scene *scene, double began, bool spills) {
  static unsigned clusters;
  *cluster = (struct cluster){0};
  clusters++;
  for (int each = 0; each < 2; each++) {
    struct kind kind = scene->kinds[each];
    if (kind.priority > 0 && !spills) continue;
    for (size_t at = 0; at < kind.count; at++) {
      struct host *host = &cluster->hosts[kind.priority][cluster->count[kind.priority]++];
      *host = (struct host){.delay = kind.delay, .stall = kind.stall, .every = kind.every, .workers = kind.workers};
      if (kind.hangs > 0) host->hangs_at = began + kind.hangs * second;
      snprintf(host->ip, sizeof host->ip, "10.%u.%u.%zu", clusters % 250, (unsigned)each, at + 1);
      snprintf(host->text, sizeof host->text, "10.%u.%u.%zu:8080", clusters % 250, (unsigned)each, at + 1);
    }
  }
}

struct result play(const struct scene *scene, bool learns, bool spills) {
  static struct cluster cluster;
  double began = now + 1000 * second;
  build(&cluster, scene, began, spills);
  char window[16];
  snprintf(window, sizeof window, "%.0f", scene->joins * 1000);
  void *config = envoy_dynamic_module_on_lb_config_new(NULL, (struct envoy_text){"", 0}, (struct envoy_text){window, strlen(window)});
  cluster.balancer = envoy_dynamic_module_on_lb_new(config, &cluster);
  double joins = began + scene->joins * second;
  size_t latecomers = scene->joins > 0 ? scene->kinds[1].count : 0;
  cluster.count[0] -= latecomers;
  size_t count = 0;
  for (double due = began; due < began + scene->seconds * second; due += second / scene->rate) {
    while (waiting > 0 && answers[0].at <= due) {
      struct answer answer = pop();
      now = answer.at;
      answer.host->active--;
      if (learns) envoy_dynamic_module_on_access_logger_log(&answer, NULL, 0);
    }
    now = due;
    if (latecomers > 0 && now >= joins) {
      cluster.count[0] += latecomers;
      envoy_dynamic_module_on_lb_on_host_membership_update(&cluster, cluster.balancer, latecomers, 0);
      latecomers = 0;
    }
    struct host *host = learns ? by_latency(&cluster) : fewer_requests(&cluster);
    host->active++;
    double at = answered_at(host, scene);
    push((struct answer){.at = at, .due = due, .sent = due, .host = host});
    if (due < began + second || due < joins || (scene->joins > 0 && due > joins + scene->joins * second / 2)) continue;
    host->requests++;
    times[count++] = at - due;
  }
  while (waiting > 0) now = pop().at;
  qsort(times, count, sizeof *times, compare);
  struct result result = {
      .p50 = times[count / 2], .p99 = times[count * 99 / 100], .p999 = times[count * 999 / 1000], .least = INFINITY};
  for (size_t at = 0; at < count; at++) result.mean += times[at] / (double)count;
  for (int priority = 0; priority < 2; priority++)
    for (size_t at = 0; at < cluster.count[priority]; at++) {
      double share = cluster.hosts[priority][at].requests / (double)count;
      if (priority > 0 || at >= scene->kinds[0].count) result.second_kind += share;
      else result.most = fmax(result.most, share * (double)scene->kinds[0].count),
      result.least = fmin(result.least, share * (double)scene->kinds[0].count);
    }
  envoy_dynamic_module_on_lb_destroy(cluster.balancer);
  envoy_dynamic_module_on_lb_config_destroy(config);
  return result;
}

