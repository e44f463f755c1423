/* Path and method to handler; what fits none is 404 or 405. */
#ifndef AUTH_ROUTES_H
#define AUTH_ROUTES_H

#include <h2o.h>

/* Fills a fresh globalconf: limits, handler, and the logger that counts finished requests. */
void routes_setup(h2o_globalconf_t *config);

#endif
