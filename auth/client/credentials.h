/* Reads client credentials from a request (RFC 6749 2.3.1): HTTP Basic, or client_id and
 * client_secret in the body. Only reads them; client.h and secret.h verify them. Pure: no
 * allocation, no I/O.
 */
#ifndef AUTH_CLIENT_CREDENTIALS_H
#define AUTH_CLIENT_CREDENTIALS_H

#include "common/attributes.h"
#include "common/slice.h"

#define CREDENTIALS_BASIC_MAX 2048 /* bytes of base64 text; longer is malformed */

enum credentials_error {
    CREDENTIALS_OK,
    CREDENTIALS_NONE,        /* nothing usable: no id, no secret, or another Authorization scheme */
    CREDENTIALS_MALFORMED,   /* not base64, no colon, broken percent escape, NUL, too long */
    CREDENTIALS_CONTROL,     /* a control character in id or secret, such as a newline */
    CREDENTIALS_TWO_METHODS, /* Basic and a client_secret, or another client_id, in the body */
};

/* `id` and `secret` may be any bytes, but are never empty. After CREDENTIALS_CONTROL they are set
 * as sent, possibly empty; after any other error they are undefined. */
struct credentials {
    struct slice id;
    struct slice secret;
    char basic[CREDENTIALS_BASIC_MAX]; /* the decoded header; wipe after use */
};

/* `authorization` is the header value, `id` and `secret` are client_id and client_secret of the
 * body; each is empty if absent. The resulting slices point into `credentials->basic` or are the
 * ones passed in. */
MUST_USE enum credentials_error credentials_read(struct slice authorization, struct slice id,
                                                 struct slice secret,
                                                 struct credentials *credentials);

#endif
