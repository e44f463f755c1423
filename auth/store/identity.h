/* What objects such as clients are called: their ids, and their names for people. */
#ifndef AUTH_STORE_IDENTITY_H
#define AUTH_STORE_IDENTITY_H

#include <stdbool.h>

#include "auth/store/store.h"
#include "common/attributes.h"

#define IDENTITY_MADE_SIZE 21  /* 20 characters of [a-z0-9], and a NUL */
#define IDENTITY_NAME_MAX  200 /* characters */

/* Makes a random id. */
MUST_USE bool identity_make(char id[IDENTITY_MADE_SIZE], struct store_failure *failure);

/* Validate an id that was given, of `what` ("a client"); `pointer` is put into the failure. */
MUST_USE bool identity_check(const char *id, const char *what, const char *pointer,
                             struct store_failure *failure);
MUST_USE bool identity_check_name(const char *name, struct store_failure *failure);

#endif
