/* Tiers as small numbers, so that what is counted by tier needs no look-up on the way. */
#ifndef AUTH_QUOTA_TIER_H
#define AUTH_QUOTA_TIER_H

#define TIER_NAME_MAX 32
#define TIER_MAX      64 /* tiers with a number of their own; the rest share the last: `other` */

/* The number of a tier's name, below TIER_MAX: given out at first sight and kept for the life of
 * the process; TIER_MAX - 1 for all that come when the others are taken. Any thread. */
unsigned tier_number(const char *name);

/* Its name, "other" for the last, NULL when it was not given out. Any thread. */
const char *tier_name(unsigned number);

#endif
