/* The table of endpoints, without policy and logger. */

#include "table.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "../latency/latency.h"

static struct address address_of(unsigned number) {
  struct address address = {.port = 80};
  memcpy(address.ip, &number, sizeof number);
  return address;
}

static bool is_near(double a, double b) { return fabs(a - b) <= 2e-3 * fmax(fabs(a), fabs(b)) + 2; }

void compare_with_formula(uint64_t now) {
  struct address address = address_of(1u << 31);
  struct endpoint *endpoint = latency_acquire(&address, now);
  assert(endpoint != NULL);
  double latency = 0, failing = 0;
  uint64_t last = now;
  for (int step = 0; step < 20000; step++) {
    now += draw(3) == 0 ? draw(20000) * 1000000ull : draw(1000000);
    struct outcome outcome = {.latency = 1e5 + draw(100000000), .failed = draw(6) == 0};
    outcome.answered = !outcome.failed && draw(8) > 0;
    latency_observe(&address, &outcome, now);
    double weight = exp(-(double)(now - last) / 10e9);
    double old = latency, seen = outcome.latency;
    if (old == 0) latency = outcome.failed ? 0 : seen;
    else if (step < 5) latency = outcome.failed ? old : fmin(old, seen);
    else if (seen > old || outcome.answered) latency = fmin(weight, 0.97) * old + (1 - fmin(weight, 0.97)) * seen;
    failing = fmin(weight, 0.95) * failing + (1 - fmin(weight, 0.95)) * outcome.failed;
    last = now;
    struct estimate estimate = latency_estimate(endpoint, now);
    assert(is_near(estimate.latency, step < 4 ? 0 : latency) && fabs(estimate.failing - failing) < 1e-2);
    uint64_t later = now + draw(30000) * 1000000ull;
    assert(step < 4 || is_near(latency_estimate(endpoint, later).latency, latency * exp(-(double)(later - now) / 10e9)));
    latency = (double)(uint64_t)latency;
  }
  latency_release(endpoint);
}

void come_and_go(uint64_t now) {
  struct endpoint *held[250] = {0};
  for (unsigned number = 0; number < 20000; number++) {
    struct endpoint **slot = &held[number % 250];
    if (*slot != NULL) {
      struct address old = address_of(number - 250 + 1000);
      assert(memcmp(&(*slot)->address, &old, sizeof old.ip) == 0);
      latency_release(*slot);
    }
    struct address address = address_of(number + 1000);
    *slot = latency_acquire(&address, now += 1000000000);
    assert(*slot != NULL && memcmp(&(*slot)->address, &address, sizeof address.ip) == 0);
    assert(latency_estimate(*slot, now).latency == 0);
  }
  // Further ones than there is room for are unknown.
  unsigned refused = 0;
  for (unsigned number = 0; number < MOST_ENDPOINTS; number++) {
    struct address address = address_of(number + 100000);
    refused += latency_acquire(&address, now) == NULL;
  }
  assert(refused > 0);
}
