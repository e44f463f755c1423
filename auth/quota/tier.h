/* Numbers tiers, so that counters per tier are plain arrays. */
#ifndef AUTH_QUOTA_TIER_H
#define AUTH_QUOTA_TIER_H

#define TIER_NAME_MAX 32
#define TIER_MAX      64 /* numbers; tiers beyond TIER_MAX - 1 share the last, `other` */

/* The tier's number, below TIER_MAX: assigned on first use and fixed for the life of the process;
 * TIER_MAX - 1 once all others are taken. Any thread. */
unsigned tier_number(const char *name);

/* The tier's name, "other" for the last number, NULL if unassigned. Any thread. */
const char *tier_name(unsigned number);

#endif
