#include "crowd.h"

#include "../slot.h"

enum { SLOTS = 256 };

static _Thread_local uint8_t waiting[SLOTS];

struct crowd_place crowd_join(struct envoy_text ip) {
  uint32_t slot = slot_of(ip, 0) % SLOTS;
  bool has_room = waiting[slot] < MOST_IN_CROWD;
  if (has_room) ++waiting[slot];
  return (struct crowd_place){has_room, slot};
}

void crowd_leave(struct crowd_place place) {
  if (place.is_taken) --waiting[place.slot];
}
