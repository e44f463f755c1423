/* common/siphash: the function itself, and that keys which collide in uthash's own function do not
 * here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "common/lru.h"
#include "common/siphash.h"

#define KEYS 2000

static uint64_t by_openssl(const unsigned char key[16], const void *bytes, size_t length)
{
    unsigned c_rounds = 1, d_rounds = 3;
    size_t size = 8;
    unsigned char out[8];
    uint64_t value;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_C_ROUNDS, &c_rounds),
        OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_D_ROUNDS, &d_rounds),
        OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
        OSSL_PARAM_construct_end(),
    };

    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

    assert_int_equal(EVP_MAC_CTX_set_params(context, params), 1);
    assert_int_equal(EVP_MAC_init(context, key, 16, NULL), 1);
    assert_int_equal(EVP_MAC_update(context, bytes, length), 1);
    assert_int_equal(EVP_MAC_final(context, out, &size, sizeof(out)), 1);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
    memcpy(&value, out, sizeof(value));
    return le64toh(value);
}

static void agrees_with_openssl(void **state)
{
    unsigned char key[16], text[100];
    struct siphash_key words;

    (void)state;
    for (size_t length = 0; length != sizeof(text); ++length) {
        arc4random_buf(key, sizeof(key));
        arc4random_buf(text, sizeof(text));
        memcpy(&words, key, sizeof(words));
        words = (struct siphash_key){{le64toh(words.words[0]), le64toh(words.words[1])}};
        assert_int_equal(siphash(&words, text, length), by_openssl(key, text, length));
    }
}

static unsigned jenkins(const char *bytes, size_t length)
{
    unsigned hash;

    HASH_JEN(bytes, length, hash);
    return hash;
}

/* Ids as an attacker would make them: all in one bucket with uthash's own function. */
static void keys_made_to_collide_do_not(void **state)
{
    static char texts[KEYS][16];
    static struct lru_entry entries[KEYS];
    struct lru lru = {.capacity = KEYS};
    unsigned longest = 0;
    size_t made = 0;

    (void)state;
    for (unsigned i = 0; made != KEYS; ++i) {
        snprintf(texts[made], sizeof(texts[made]), "%u", i);
        if ((jenkins(texts[made], strlen(texts[made])) & 255) != 0)
            continue;
        entries[made] = (struct lru_entry){.key = slice_of(texts[made])};
        assert_null(lru_add(&lru, &entries[made]));
        ++made;
    }
    for (unsigned i = 0; i != lru.entries->hh.tbl->num_buckets; ++i) {
        unsigned count = lru.entries->hh.tbl->buckets[i].count;

        longest = count > longest ? count : longest;
    }
    assert_in_range(longest, 1, 30); /* never exceeded by chance with 2,000 keys */
    while (lru_oldest(&lru) != NULL)
        lru_remove(&lru, lru_oldest(&lru));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_openssl),
        cmocka_unit_test(keys_made_to_collide_do_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
