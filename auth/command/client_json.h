/* Clients as the JSON that commands print. */
#ifndef AUTH_COMMAND_CLIENT_JSON_H
#define AUTH_COMMAND_CLIENT_JSON_H

#include <jansson.h>

#include "auth/store/client_store.h"

/* The whole client, without its secrets. */
json_t *client_json(const struct client_values *client);

/* Its labels or claims for people: one line of ASCII, so that it cannot change the terminal. NULL
 * if there are none; the caller frees it. */
char *client_json_line(const char *object);

#endif
