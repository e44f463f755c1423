/* Where quotas are enforced. */
#ifndef AUTH_QUOTA_LIMITER_MODE_H
#define AUTH_QUOTA_LIMITER_MODE_H

enum limiter_mode {
    LIMITER_REDIS,
    LIMITER_LOCAL, /* each process on its own */
    LIMITER_OFF,
};

/* What to do while Redis is down. */
enum limiter_on_error {
    LIMITER_ON_ERROR_LOCAL,
    LIMITER_ON_ERROR_ALLOW,
    LIMITER_ON_ERROR_DENY,
};

#endif
