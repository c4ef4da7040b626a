/*
 * The policy in virtual time: simulation SEED. Requests come at a rate to endpoints that answer by rule. No machine is busy here, and a
 * minute takes a moment. It prints what becomes of the requests, and checks the aims of `bench/run latency`.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "play.h"

static void show(const char *policy, struct result it) {
  printf("    %-13s  mean %6.2f  p50 %6.2f  p99 %8.2f  p99.9 %8.2f ms  others %5.2f %%  shares %.2f to %.2f\n", policy, it.mean / ms,
         it.p50 / ms, it.p99 / ms, it.p999 / ms, 100 * it.second_kind, it.least, it.most);
}

/** Parts of LEAST_REQUEST's figures. */
struct ratios {
  double mean, p99, p999;
  struct result by_latency;
};

static struct ratios compare_policies(const struct scene *scene) {
  struct result by_requests = play(scene, false, false), by_latency = play(scene, true, false);
  struct ratios ratios = {
      by_latency.mean / by_requests.mean, by_latency.p99 / by_requests.p99, by_latency.p999 / by_requests.p999, by_latency};
  printf("  %s, %.0f/s: mean %.2f, p99 %.2f, p99.9 %.2f\n", scene->name, scene->rate, ratios.mean, ratios.p99, ratios.p999);
  show("LEAST_REQUEST", by_requests);
  show("PEAK_EWMA", by_latency);
  return ratios;
}

/** What each answer's time varies by. */
struct noise {
  const char *name;
  double hiccups, jitter;
};

static void check(const struct noise *noise, double rate) {
  const struct kind ten = {.count = 10, .delay = 4 * ms}, nine = {.count = 9, .delay = 4 * ms};
  const struct kind slow = {.count = 1, .delay = 40 * ms};
  const struct kind stalling = {.count = 1, .delay = 4 * ms, .stall = 500 * ms, .every = 4 * second};
  const struct kind near = {.count = 3, .delay = 4 * ms}, far = {.count = 7, .delay = 24 * ms};
  struct scene scene = {"even", {ten}, rate, noise->hiccups, noise->jitter, 240, 0};
  struct ratios even = compare_policies(&scene);
  assert(even.mean <= 1.05 && even.by_latency.most < 1.3);
  scene.name = "one slow", scene.kinds[0] = nine, scene.kinds[1] = slow;
  struct ratios one_slow = compare_policies(&scene);
  scene.name = "one stalls", scene.kinds[1] = stalling;
  struct ratios one_stalls = compare_policies(&scene);
  scene.name = "near and far", scene.kinds[0] = near, scene.kinds[1] = far;
  assert(compare_policies(&scene).mean <= 0.35);
  // Hiccups are 3 % of all answers, so p99 and p99.9 are theirs, whoever chooses.
  assert(one_slow.by_latency.second_kind < 0.002 && one_slow.p99 <= (noise->hiccups > 0 ? 1 : 0.3));
  assert(one_stalls.p999 <= (noise->hiccups > 0 ? 0.2 : 0.1));
}

/** Those of the own zone have half as much to do again as they can, or half of it. */
static void check_spill_over(const struct noise *noise, double load) {
  const struct kind near = {.count = 2, .delay = 20 * ms, .workers = 1};
  const struct kind far = {.count = 4, .delay = 22 * ms, .workers = 4, .priority = 1};
  const struct scene scene = {"near ones", {near, far}, 100 * load, noise->hiccups, noise->jitter, 20, 0};
  struct result without = play(&scene, true, false), with = play(&scene, true, true);
  printf("  %s at %.0f %% of their capacity, with spill-over: p99 %.3f\n", scene.name, 100 * load, with.p99 / without.p99);
  show("without", without);
  show("with", with);
  assert(load < 1 ? with.second_kind < 0.15 : with.p99 <= 0.2 * without.p99);
}

/** Of ten that are alike one is new: half of its time on it gets a quarter of its share, where it would grow evenly. */
static void check_slow_start(const struct noise *noise) {
  const struct kind nine = {.count = 9, .delay = 4 * ms}, one = {.count = 1, .delay = 4 * ms};
  const struct scene scene = {"slow start", {nine, one}, 150, noise->hiccups, noise->jitter, 60, .joins = 30};
  struct result result = play(&scene, true, false);
  printf("  %s: %.2f of its share\n", scene.name, 10 * result.second_kind);
  assert(10 * result.second_kind > 0.1 && 10 * result.second_kind < 0.5);
}

/** One of ten takes requests and answers none: nothing is seen of it, and it draws no more for that. */
static void check_hanging(const struct noise *noise) {
  const struct kind nine = {.count = 9, .delay = 4 * ms}, one = {.count = 1, .delay = 4 * ms, .hangs = 1};
  const struct scene scene = {"one hangs", {nine, one}, 150, noise->hiccups, noise->jitter, 180, 0};
  struct result result = play(&scene, true, false);
  printf("  %s: %.0f of %.0f requests\n", scene.name, result.second_kind * scene.rate * (scene.seconds - 1), scene.rate * (scene.seconds - 1));
  assert(result.second_kind < 0.001);
}

int main(int count, char **words) {
  assert(count >= 2);
  play_seed(strtoull(words[1], NULL, 10));
  const struct noise noises[] = {
      {"none", 0, 0}, {"each answer up to 30 % longer and more", 0, 0.3}, {"3 % are up to 50 ms late as well", 0.03, 0.3}};
  for (size_t at = 0; at < sizeof noises / sizeof *noises; at++) {
    printf("noise: %s\n", noises[at].name);
    for (double rate = 150; rate <= 500; rate += 350) check(&noises[at], rate);
    check_slow_start(&noises[at]);
    check_hanging(&noises[at]);
    check_spill_over(&noises[at], 0.5);
    check_spill_over(&noises[at], 1.5);
  }
}
