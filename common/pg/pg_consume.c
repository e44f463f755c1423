#include "common/pg/pg_consume.h"

#include <openssl/ssl.h>

/* A TLS record may hold more than libpq reads at once (never from PostgreSQL itself, but from a
 * proxy); the rest stays in OpenSSL, where a poll does not see it. */
bool pg_consume(PGconn *connection)
{
    const SSL *tls = PQsslStruct(connection, "OpenSSL");
    bool read = PQconsumeInput(connection) == 1;

    while (read && tls != NULL && SSL_pending(tls) > 0)
        read = PQconsumeInput(connection) == 1;
    return read;
}
