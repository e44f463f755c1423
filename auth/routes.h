/* The table of routes: listener, path, method and handler. */
#ifndef AUTH_ROUTES_H
#define AUTH_ROUTES_H

#include "auth/process.h"

/* Configures the HTTP server. Call before the first loop is opened. */
void routes_setup(struct process *process);

#endif
