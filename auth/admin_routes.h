/* The paths of the administration. */
#ifndef AUTH_ADMIN_ROUTES_H
#define AUTH_ADMIN_ROUTES_H

#include "auth/admin.h"

/* Call before admin_open. */
void admin_routes_setup(struct admin *admin);

#endif
