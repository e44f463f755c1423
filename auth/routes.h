/* What is served: one table of listener, path, method and handler. */
#ifndef AUTH_ROUTES_H
#define AUTH_ROUTES_H

#include "auth/process.h"

/* Fills what the HTTP server needs to know before the first loop is opened. */
void routes_setup(struct process *process);

#endif
