/* One request of the administration, as operations see it. call_handle.h takes it from the router
 * and answers it. */
#ifndef AUTH_ENDPOINT_ADMIN_CALL_H
#define AUTH_ENDPOINT_ADMIN_CALL_H

#include <h2o.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/admin.h"
#include "auth/client/client.h"
#include "auth/store/guard.h"
#include "auth/store/store.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/http/route_path.h"

#define CALL_PARAMETERS_MAX 16
#define CALL_PART_MAX       128 /* bytes of a variable part of the path */
#define CALL_REQUEST_ID_MAX 128
#define CALL_KEY_MAX        255 /* of Idempotency-Key */
#define CALL_VERSIONS_MAX   512
#define CALL_LIMIT          100
#define CALL_LIMIT_MAX      1000

/* What a caller may do; each includes what is above it. */
enum call_scope { CALL_NOTHING, CALL_READ, CALL_WRITE, CALL_ADMIN };

enum call_scope call_scope_of(struct slice scope);

struct call;

struct call_operation {
    const char *method;    /* GET is also for HEAD; NULL ends an array of them */
    enum call_scope scope; /* that the caller needs */
    /* Of the query, NULL-terminated; one that ends with a dot stands for all that begin so. NULL:
     * it takes none. */
    const char *const *parameters;
    bool takes_body;    /* JSON */
    bool has_version;   /* changes an object that has one: takes If-Match */
    bool is_repeatable; /* takes Idempotency-Key */
    bool is_list;       /* has pages, and takes `limit` and `after` */
    bool is_local;      /* needs no PostgreSQL, and runs on the loop without a connection */
    bool (*run)(struct call *call, PGconn *connection, struct store_failure *failure);
};

struct call {
    /* The request. */
    const struct call_operation *operation;
    struct admin *admin;
    char parts[ROUTE_PATH_PARTS_MAX][CALL_PART_MAX + 1]; /* variable ones of the path */
    const char *values[CALL_PARAMETERS_MAX];             /* of `parameters`; NULL: not given */
    json_t *labels; /* of a parameter that ends with a dot: the rest of its names, and the values */
    long long limit;
    const char *after; /* NULL: from the start */
    json_t *body;      /* NULL: none */
    struct guard guard;
    char client_id[CLIENT_ID_MAX + 1]; /* the caller */
    char request_id[CALL_REQUEST_ID_MAX + 1];
    enum call_scope scope;
    int64_t expires_at; /* of the token, epoch seconds */

    /* The answer. */
    int status;       /* 0: 200, or 204 without `answer` */
    json_t *answer;   /* owned; NULL: none */
    char version[24]; /* for ETag; empty: none */
    char location[4 * CALL_PART_MAX];
    char next[2048]; /* where the next page begins; empty: this is the last one */

    bool undo; /* nothing is to be changed after all */

    /* Of call_handle.c. */
    struct admin_job job;
    struct call_request *request; /* NULL: it is gone */
    struct uuid jti;
    int64_t issued_ms; /* the millisecond inside the jti */
    enum call_scope token_scope;
    char versions[CALL_VERSIONS_MAX + 1];
    char none_match[CALL_VERSIONS_MAX + 1];
    char key[CALL_KEY_MAX + 1]; /* empty: none */
    unsigned char digest[32];   /* of the request, for the key */
    char *path;                 /* with the query, as it was sent; owned, as are these */
    char *query;                /* decoded in place */
    char *page_after;           /* what `after` is for the pages of a stream */
    bool is_stream;
    bool is_replay;
    bool has_failed;
    int refusal; /* status of a call whose caller is refused; 0: not */
    const char *refusal_detail;
    struct store_failure failure;
};

/* For operations. */

/* The value of a parameter; NULL: not given. */
const char *call_value(const struct call *call, const char *name);

/* A parameter that is `true` or `false`; NULL: not given. Sets `value`. */
MUST_USE bool call_boolean(const struct call *call, const char *name, bool *value,
                           const bool **given, struct store_failure *failure);

/* Whether a parameter is NULL or a time, RFC 3339 with a zone. */
MUST_USE bool call_check_time(const char *value, const char *name, struct store_failure *failure);

/* Answers with a page: takes over `items`. `after` is where the next one begins; NULL: none. */
void call_answer_page(struct call *call, json_t *items, const char *after);

/* Answers with an object of a version; takes `object` over. */
void call_answer_object(struct call *call, json_t *object, const char *version);

/* Says where what was made is: the path of the collection, and the id. */
void call_set_location(struct call *call, const char *collection, const char *id);

#endif
