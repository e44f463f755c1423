#include "auth/token/jwk.h"
#include "common/base64.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/sha.h>
#include <string.h>

#define P256_COORDINATE 32
#define NUMBER_MAX      1024 /* bytes: an RSA key of 8192 bits */

/* Sets the member `name` to the key's number `param`, big-endian, left-padded with zeros to `width`
 * bytes; a width of 0 means no padding. */
static bool set_number(json_t *jwk, const char *name, EVP_PKEY *pkey, const char *param, int width)
{
    unsigned char bytes[NUMBER_MAX];
    char text[NUMBER_MAX * 4 / 3 + 4];
    BIGNUM *number = NULL;
    int length = -1;

    if (EVP_PKEY_get_bn_param(pkey, param, &number) && BN_num_bytes(number) <= NUMBER_MAX) {
        if (width == 0)
            width = BN_num_bytes(number);
        length = BN_bn2binpad(number, bytes, width);
    }
    BN_free(number);
    if (length < 0)
        return false;
    base64_url_encode(bytes, (size_t)length, text);
    return json_object_set_new(jwk, name, json_string(text)) == 0;
}

static bool set_public_members(json_t *jwk, EVP_PKEY *pkey, enum key_alg alg)
{
    if (alg == KEY_ES256) /* RFC 7518 6.2.1.2: coordinates have the full width of the curve */
        return json_object_set_new(jwk, "crv", json_string("P-256")) == 0 &&
               set_number(jwk, "x", pkey, OSSL_PKEY_PARAM_EC_PUB_X, P256_COORDINATE) &&
               set_number(jwk, "y", pkey, OSSL_PKEY_PARAM_EC_PUB_Y, P256_COORDINATE);
    /* RFC 7518 6.3.1: no leading zero bytes */
    return set_number(jwk, "n", pkey, OSSL_PKEY_PARAM_RSA_N, 0) &&
           set_number(jwk, "e", pkey, OSSL_PKEY_PARAM_RSA_E, 0);
}

/* RFC 7638 3.2: only the required members of the key type. */
static json_t *required_members(json_t *jwk)
{
    const char *kty = "", *crv, *x, *y, *n, *e;

    if (json_unpack(jwk, "{s:s}", "kty", &kty) != 0)
        return NULL;
    if (strcmp(kty, "EC") == 0 &&
        json_unpack(jwk, "{s:s, s:s, s:s}", "crv", &crv, "x", &x, "y", &y) == 0)
        return json_pack("{s:s, s:s, s:s, s:s}", "kty", kty, "crv", crv, "x", x, "y", y);
    if (strcmp(kty, "RSA") == 0 && json_unpack(jwk, "{s:s, s:s}", "n", &n, "e", &e) == 0)
        return json_pack("{s:s, s:s, s:s}", "kty", kty, "n", n, "e", e);
    return NULL;
}

static bool thumbprint_of(json_t *jwk, char thumbprint[KEY_KID_LENGTH + 1])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char text[SHA256_DIGEST_LENGTH * 4 / 3 + 4];
    json_t *members = required_members(jwk);
    /* RFC 7638 3.3: no white space, members sorted by name */
    char *canonical = json_dumps(members, JSON_COMPACT | JSON_SORT_KEYS);
    bool done = canonical != NULL &&
                EVP_Digest(canonical, strlen(canonical), digest, NULL, EVP_sha256(), NULL);

    json_decref(members);
    free(canonical);
    if (!done)
        return false;
    base64_url_encode(digest, sizeof(digest), text);
    memcpy(thumbprint, text, KEY_KID_LENGTH + 1);
    return true;
}

bool jwk_thumbprint(const char *jwk, char thumbprint[KEY_KID_LENGTH + 1])
{
    json_t *parsed = json_loads(jwk, JSON_REJECT_DUPLICATES, NULL);
    bool done = thumbprint_of(parsed, thumbprint);

    json_decref(parsed);
    return done;
}

char *jwk_public(EVP_PKEY *pkey, enum key_alg alg, char kid[KEY_KID_LENGTH + 1])
{
    /* An empty kid reserves its position; the value depends on members added later. */
    json_t *jwk = json_pack("{s:s, s:s, s:s, s:s}", "kty", alg == KEY_ES256 ? "EC" : "RSA", "use",
                            "sig", "alg", key_alg_name(alg), "kid", "");
    char *text = NULL;

    if (jwk != NULL && set_public_members(jwk, pkey, alg) && thumbprint_of(jwk, kid) &&
        json_object_set_new(jwk, "kid", json_string(kid)) == 0)
        text = json_dumps(jwk, JSON_COMPACT);
    json_decref(jwk);
    return text;
}
