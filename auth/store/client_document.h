/* Clients as JSON objects, as the API and `jotd apply` take and give them. */
#ifndef AUTH_STORE_CLIENT_DOCUMENT_H
#define AUTH_STORE_CLIENT_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>

#include "auth/client/client.h"
#include "auth/client/scope.h"
#include "auth/store/client_change.h"
#include "auth/store/store.h"
#include "common/attributes.h"

/* Views into the PGresult they were read from. */
struct client_values {
    const char *client_id;
    const char *name;
    const char *tier;
    const char *scope;     /* separated by spaces; empty: none */
    const char *audiences; /* as `scope` */
    const char *token_ttl; /* seconds; NULL: none of its own */
    bool is_enabled;
    const char *created_at, *updated_at; /* RFC 3339, in UTC */
    const char *organization;            /* NULL: none */
    const char *introspect;              /* as `scope` */
    const char *labels, *claims;         /* JSON objects */
    const char *tokens_valid_from;       /* RFC 3339 with milliseconds; NULL: all are */
    const char *version;                 /* a number, raised by every change */
};

/* All values of a client, read from a document. Texts live as long as the document. */
struct client_document {
    struct client_change change; /* each value is given; the name may be NULL */
    char scope[SCOPE_MAX + 1];
    const char *audiences[CLIENT_MAX_AUDIENCES];
    const char *introspect[CLIENT_MAX_AUDIENCES];
    long long token_ttl_s;
    bool is_enabled;
};

/* Reads a document: values that it does not have get their defaults. Members that nobody can set
 * are passed over; `client_id` must be the one given (NULL: any). The rules of values are checked
 * by the change. */
MUST_USE bool client_document_read(const json_t *json, const char *client_id,
                                   struct client_document *document, struct store_failure *failure);

/* Whether it has the name that a client needs. */
MUST_USE bool client_document_check_name(const struct client_document *document,
                                         struct store_failure *failure);

/* What the client would have: the members that can be set, in the form that client_document gives
 * them. NULL, with the failure, when a value breaks a rule; the caller owns it. */
MUST_USE json_t *client_document_complete(const struct client_document *document,
                                          struct store_failure *failure);

/* The caller owns it. */
json_t *client_document(const struct client_values *client);

/* JSON that PostgreSQL gave. Statements typed by hand may have stored numbers that jansson refuses;
 * then it is a string. */
json_t *client_document_parse(const char *json);

#endif
