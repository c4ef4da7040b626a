/* The table of endpoints, without policy and logger. */

#include "table.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../latency/latency.h"

static struct address address_of(unsigned number) {
  struct address address = {.port = 80};
  memcpy(address.ip, &number, sizeof number);
  return address;
}

static const struct envoy_text shop = {"shop", 4};

static bool is_near(double a, double b) { return fabs(a - b) <= 2e-3 * fmax(fabs(a), fabs(b)) + 2; }

void compare_with_formula(uint64_t now) {
  struct address address = address_of(1u << 31);
  struct place place = latency_acquire(&address, shop, now);
  assert(place.endpoint != NULL);
  double latency = 0, failing = 0;
  uint64_t last = now;
  for (int step = 0; step < 20000; step++) {
    now += draw(3) == 0 ? draw(20000) * 1000000ull : draw(1000000);
    struct outcome outcome = {.latency = 1e5 + draw(100000000), .failed = draw(6) == 0};
    outcome.answered = !outcome.failed && draw(8) > 0;
    latency_observe(&address, shop, &outcome, now);
    double weight = exp(-(double)(now - last) / 10e9);
    double old = latency, seen = outcome.latency;
    if (old == 0) latency = outcome.failed ? 0 : seen;
    else if (step < 5) latency = outcome.failed ? old : fmin(old, seen);
    else if (seen > old || outcome.answered) latency = fmin(weight, 0.97) * old + (1 - fmin(weight, 0.97)) * seen;
    failing = fmin(weight, 0.95) * failing + (1 - fmin(weight, 0.95)) * outcome.failed;
    last = now;
    struct estimate estimate = latency_estimate(place, now);
    assert(is_near(estimate.latency, step < 4 ? 0 : latency) && fabs(estimate.failing - failing) < 1e-2);
    uint64_t later = now + draw(30000) * 1000000ull;
    assert(step < 4 || is_near(latency_estimate(place, later).latency, latency * exp(-(double)(later - now) / 10e9)));
    latency = (double)(uint64_t)latency;
  }
  latency_release(place);
}

void come_and_go(uint64_t now) {
  struct place held[250] = {0};
  for (unsigned number = 0; number < 20000; number++) {
    struct place *slot = &held[number % 250];
    if (slot->endpoint != NULL) {
      struct address old = address_of(number - 250 + 1000);
      assert(memcmp(&slot->endpoint->address, &old, sizeof old.ip) == 0);
      latency_release(*slot);
    }
    struct address address = address_of(number + 1000);
    *slot = latency_acquire(&address, shop, now += 1000000000);
    assert(slot->endpoint != NULL && memcmp(&slot->endpoint->address, &address, sizeof address.ip) == 0);
    assert(latency_estimate(*slot, now).latency == 0);
  }
  for (unsigned at = 0; at < 250; at++) latency_release(held[at]);
}

static const struct outcome answer = {.latency = 1e6, .answered = true};

/** @return how many of these endpoints, each of which gets a few answers, the table knows then */
static unsigned take(struct envoy_text namespace, unsigned first, unsigned count, struct place *places, uint64_t now) {
  unsigned known = 0;
  for (unsigned at = 0; at < count; at++) {
    struct address address = address_of(first + at);
    places[at] = latency_acquire(&address, namespace, now);
    for (int times = 0; times < LATENCY_LEARNT; times++) latency_observe(&address, namespace, &answer, now);
  }
  for (unsigned at = 0; at < count; at++) known += latency_estimate(places[at], now).latency > 0;
  return known;
}

void share_the_table(uint64_t now) {
  enum { ALL = MOST_ENDPOINTS, TENANTS = 20 };
  static struct place places[TENANTS][ALL], modest[10], others[ALL];
  // What was there before is forgotten, a few at a time.
  struct address address = address_of(99999);
  for (unsigned times = 0; times < ALL; times++) {
    address.port = (uint16_t)(times % 2 + 1);
    latency_observe(&address, shop, &answer, now += 100000000000u);
  }
  // One that is alone has all, and further ones are unknown.
  unsigned alone = take(shop, 100000, ALL, places[0], now);
  assert(alone <= ALL && alone >= ALL - 2 && take(shop, 200000, ALL, others, now) == 0);
  // However many have taken all they can, who has few endpoints finds room for them.
  for (unsigned tenant = 1; tenant < TENANTS; tenant++) {
    char name[8];
    struct envoy_text namespace = {name, (size_t)snprintf(name, sizeof name, "ns-%u", tenant)};
    assert(take(namespace, 100000 * (tenant + 2), ALL, places[tenant], now) >= (ALL - 12) / (tenant + 1) - 1);
    assert(take((struct envoy_text){"bank", 4}, 90000, 10, modest, now) == 10);
    for (unsigned at = 0; at < 10; at++) latency_release(modest[at]);
  }
  // What a place says that became another's, and its end, touch nobody.
  unsigned known = 0;
  for (unsigned tenant = 0; tenant < TENANTS; tenant++)
    for (unsigned at = 0; at < ALL; at++) known += latency_estimate(places[tenant][at], now).latency > 0;
  assert(known <= ALL);
  for (unsigned at = 0; at < ALL; at++) latency_release(places[0][at]);
  assert(take((struct envoy_text){"bank", 4}, 90000, 10, modest, now) == 10);
}
