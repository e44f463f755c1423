/* How often a client may ask, per second and process: counted in a fixed table without a lock.
 *
 * Two clients whose ids share a slot share its count, which is rare: a hundred busy ones meet with
 * a probability of 7 %, and then each still has half.
 */
#ifndef AUTH_CLIENT_CLIENT_RATE_H
#define AUTH_CLIENT_CLIENT_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/slice.h"

#define CLIENT_RATE_SLOTS 65536 /* of 8 bytes */

struct client_rate {
    uint32_t per_second;
    _Atomic uint64_t *slots; /* the second, and in the low half the number of requests in it */
};

/* False when out of memory. */
MUST_USE bool client_rate_open(struct client_rate *rate, uint32_t per_second);
void client_rate_close(struct client_rate *rate);

/* Counts a request of the client; false when it has had its share of this second. */
MUST_USE bool client_rate_take(struct client_rate *rate, struct slice id, uint64_t now_ms);

#endif
