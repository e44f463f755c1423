/* Which client speaks, by which secret (RFC 6749 2.3.1): HTTP Basic, or client_id and
 * client_secret in the body. Reads what was presented; whether it is right is client.h's and
 * secret.h's business. Pure: no allocation, no I/O.
 */
#ifndef AUTH_CLIENT_CREDENTIALS_H
#define AUTH_CLIENT_CREDENTIALS_H

#include "common/attributes.h"
#include "common/slice.h"

#define CREDENTIALS_BASIC_MAX 2048 /* bytes of base64 text; more is malformed */

enum credentials_error {
    CREDENTIALS_OK,
    CREDENTIALS_NONE,        /* nothing usable: no id, no secret, or another Authorization scheme */
    CREDENTIALS_MALFORMED,   /* not base64, no colon, broken percent escape, NUL, too long */
    CREDENTIALS_CONTROL,     /* a control character in id or secret, such as a file's line end */
    CREDENTIALS_TWO_METHODS, /* Basic and a client_secret, or another client_id, in the body */
};

/* `secret` may be anything a client sends, but is never empty, and neither is `id`. After
 * CREDENTIALS_CONTROL both are as they were sent, after another error of no meaning. */
struct credentials {
    struct slice id;
    struct slice secret;
    char basic[CREDENTIALS_BASIC_MAX]; /* what the views point into after Basic: wipe after use */
};

/* `authorization` is the header's value, `id` and `secret` are the body's client_id and
 * client_secret; each is empty when it was not sent. The views point into `credentials->basic` or
 * are those given. */
MUST_USE enum credentials_error credentials_read(struct slice authorization, struct slice id,
                                                 struct slice secret,
                                                 struct credentials *credentials);

#endif
