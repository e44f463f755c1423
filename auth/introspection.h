/* How introspections end, for the operator: the asker learns only whether the token is active. */
#ifndef AUTH_INTROSPECTION_H
#define AUTH_INTROSPECTION_H

enum introspection_result {
    INTROSPECTION_ACTIVE,
    INTROSPECTION_MALFORMED,
    INTROSPECTION_UNKNOWN_KEY,
    INTROSPECTION_OTHER_ISSUER,
    INTROSPECTION_EXPIRED,
    INTROSPECTION_BAD_SIGNATURE,
    INTROSPECTION_NOT_PERMITTED, /* the asker may not ask about it */
    INTROSPECTION_REVOKED,       /* by its jti, or with all tokens of its client */
    INTROSPECTION_NO_CLIENT,     /* its client, or the client's organization, is disabled or gone */
    INTROSPECTION_UNAVAILABLE,   /* answered 503 */
    INTROSPECTION_RESULT_COUNT,
};

#endif
