#include "auth/store/identity.h"

#include <openssl/rand.h>

#include "auth/client/client.h"

/* Skips bytes from the last multiple of 36 on, which would favour some of the 36 characters. */
bool identity_make(char id[IDENTITY_MADE_SIZE], struct store_failure *failure)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t length = 0;
    unsigned char byte;

    while (length != IDENTITY_MADE_SIZE - 1) {
        if (RAND_bytes(&byte, 1) != 1)
            return store_fail(failure, STORE_UNAVAILABLE, "", "the system gives no random bytes");
        if (byte < 252)
            id[length++] = characters[byte % 36];
    }
    id[length] = '\0';
    return true;
}

bool identity_check(const char *id, const char *what, const char *pointer,
                    struct store_failure *failure)
{
    return client_id_is_valid(slice_of(id)) ||
           store_fail(failure, STORE_INVALID, pointer,
                      "%s id is 1 to %d characters of A-Z a-z 0-9 . _ -", what, CLIENT_ID_MAX);
}

bool identity_check_name(const char *name, struct store_failure *failure)
{
    return store_check_text(name, 1, IDENTITY_NAME_MAX) ||
           store_fail(failure, STORE_INVALID, "/name",
                      "a name is 1 to %d characters of UTF-8 without control characters",
                      IDENTITY_NAME_MAX);
}
