/* What the access log keeps about the current request; part of its connection. */
#ifndef COMMON_HTTP_ACCESS_NOTE_H
#define COMMON_HTTP_ACCESS_NOTE_H

#include "common/slice.h"

#define ACCESS_NOTE_FIELDS 3

/* Which requests get a line. */
enum access_log {
    ACCESS_LOG_OFF,
    ACCESS_LOG_ERRORS, /* statuses from 400, and requests without an answer */
    ACCESS_LOG_ALL,
};

/* Texts are in the request's pool; names and the error are constants. */
struct access_note {
    struct slice request_id; /* empty: none */
    struct slice trace_id;   /* of W3C's traceparent */
    const char *error;       /* NULL: none */
    struct access_field {
        const char *name; /* NULL: free */
        struct slice value;
    } fields[ACCESS_NOTE_FIELDS];
};

#endif
