/* Where clients are held to their quota. */
#ifndef AUTH_QUOTA_LIMITER_MODE_H
#define AUTH_QUOTA_LIMITER_MODE_H

enum limiter_mode {
    LIMITER_REDIS,
    LIMITER_LOCAL, /* each process by itself */
    LIMITER_OFF,
};

/* What happens while Redis is away. */
enum limiter_on_error {
    LIMITER_ON_ERROR_LOCAL,
    LIMITER_ON_ERROR_ALLOW,
    LIMITER_ON_ERROR_DENY,
};

#endif
