/* auth/token: key_directory and key_file: what is read from the key directory, and what is refused.
 */
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "tests/unit/key_directory.h"

#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "auth/token/jwk.h"

/* Writes a key file of our own making under its correct thumbprint. Frees the key. */
static void write_pair(EVP_PKEY *pkey, enum key_alg alg)
{
    struct signing_key key = {.alg = alg, .activate_at = NOW};
    char *jwk = jwk_public(pkey, alg, key.kid), *text;
    BIO *bio = BIO_new(BIO_s_mem());
    char name[KEY_NAME_SIZE];
    long length;

    assert_non_null(jwk);
    assert_true(PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL));
    length = BIO_get_mem_data(bio, &text);
    key_name_write(&key, name);
    write_file(name, text, (size_t)length);
    BIO_free(bio);
    free(jwk);
    EVP_PKEY_free(pkey);
}

static void test_create_and_load(void **state)
{
    (void)state;
    for (enum key_alg alg = KEY_ES256; alg < KEY_ALG_COUNT; ++alg) {
        char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], path[PATH_MAX];
        const struct signing_key *key;
        struct key_set *set;
        struct failure failure;
        struct stat status;

        create(alg, NOW, kid);
        set = load();
        assert_int_equal(set->count, 1);
        key = &set->keys[0];
        assert_string_equal(key->kid, kid);
        assert_int_equal(strlen(kid), KEY_KID_LENGTH);
        assert_int_equal(key->alg, alg);
        assert_int_equal(key->activate_at, NOW);
        assert_int_equal(key->retire_at, 0);
        assert_ptr_equal(key_set_signing(set, NOW), key);
        if (alg == KEY_HS256) {
            assert_int_equal(key->material_length, 32);
            assert_null(key->jwk);
        } else {
            assert_non_null(strstr(key->material, "-----BEGIN PRIVATE KEY-----\n"));
            assert_int_equal(strlen(key->material), key->material_length);
            assert_non_null(strstr(key->jwk, kid));
        }
        key_name_write(key, name);
        path_of(name, path);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        assert_true(key_file_remove(directory, key, &failure));
        key_set_release(set);
    }
    assert_int_equal(count_loaded(), 0);
}

static void test_create_makes_the_directory(void **state)
{
    char kid[KEY_KID_LENGTH + 1];
    struct failure failure;
    struct stat status;

    (void)state;
    assert_int_equal(rmdir(directory), 0);
    assert_null(key_directory_load(directory, &failure));
    assert_int_equal(key_directory_fingerprint(directory), 0);
    create(KEY_ES256, NOW, kid);
    assert_int_equal(stat(directory, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    assert_int_equal(count_loaded(), 1);
}

static void test_a_full_directory(void **state)
{
    char kid[KEY_KID_LENGTH + 1];
    struct failure failure;

    (void)state;
    for (int i = 0; i < KEY_SET_MAX; ++i)
        create(KEY_HS256, NOW + i, kid);
    assert_int_equal(count_loaded(), KEY_SET_MAX);
    assert_false(key_file_create(directory, KEY_HS256, NOW, kid, &failure));
    write_file("one-more.pem", "x", 1);
    assert_null(key_directory_load(directory, &failure));
    assert_int_not_equal(key_directory_fingerprint(directory), 0);
}

static void test_a_directory_that_everybody_may_write_to(void **state)
{
    struct failure failure;

    (void)state;
    assert_int_equal(chmod(directory, 0777), 0);
    assert_false(key_directory_check(directory, &failure));
    assert_non_null(strstr(failure.reason, "everybody may write"));
    assert_null(key_directory_load(directory, &failure));
    assert_int_equal(key_directory_fingerprint(directory), 0);
    assert_int_equal(chmod(directory, 01777), 0); /* sticky: others may still add */
    assert_false(key_directory_check(directory, &failure));
    assert_int_equal(chmod(directory, 0770), 0);
    assert_true(key_directory_check(directory, &failure));
    assert_int_equal(count_loaded(), 0);
    assert_true(key_directory_check("/nowhere", &failure));
}

static void test_names_that_are_refused(void **state)
{
    static const char *const refused[] = {
        "%.42s.ES256.1700000000.pem",
        "%sA.ES256.1700000000.pem",
        "%.42s+.ES256.1700000000.pem",
        "%s.RS256.1700000000.pem",
        "%s.HS256.1700000000.pem",
        "%s.es256.1700000000.pem",
        "%s.PS256.1700000000.pem",
        "%s.none.1700000000.pem",
        "%s.ES256.pem",
        "%s.ES256..pem",
        "%s.ES256.soon.pem",
        "%s.ES256.-5.pem",
        "%s.ES256.+5.pem",
        "%s.ES256.05.pem",
        "%s.ES256. 5.pem",
        "%s.ES256.1.5e3.pem",
        "%s.ES256.99999999999999999999.pem",
        "%s.ES256.1700000000.1700000000.pem",
        "%s.ES256.1700000000.1600000000.pem",
        "%s.ES256.1700000000.0.pem",
        "%s.ES256.1700000000.1800000000.1.pem",
        "%s.ES256.1700000000.pem.pem",
        "%s.ES256.1700000000.1800000000x.pem",
        "x.pem",
    };
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], bad[NAME_MAX];

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    for (size_t i = 0; i < COUNT_OF(refused); ++i) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(bad, sizeof(bad), refused[i], kid);
#pragma GCC diagnostic pop
        move(name, bad);
        if (count_loaded() != 0)
            fail_msg("%s is taken for a key", bad);
        move(bad, name);
    }
    assert_int_equal(count_loaded(), 1);
}

static void test_a_kid_that_is_not_the_thumbprint(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], other[KEY_NAME_SIZE];

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    memcpy(other, name, sizeof(other));
    other[0] = other[0] == 'x' ? 'y' : 'x';
    move(name, other);
    assert_int_equal(count_loaded(), 0);
}

static void test_contents_that_are_refused(void **state)
{
    (void)state;
    for (enum key_alg alg = KEY_ES256; alg < KEY_ALG_COUNT; ++alg) {
        char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], path[PATH_MAX];

        create(alg, NOW, kid);
        only_file(name, text);
        write_file(name, text, strlen(text) / 2);
        assert_int_equal(count_loaded(), 0);
        write_file(name, "", 0);
        assert_int_equal(count_loaded(), 0);
        write_file(name, "\0\0\0\0", 4);
        assert_int_equal(count_loaded(), 0);
        write_file(name, text, strlen(text));
        assert_int_equal(count_loaded(), 1);
        path_of(name, path);
        assert_int_equal(truncate(path, 16 * 1024 + 1), 0);
        assert_int_equal(count_loaded(), 0);
        assert_int_equal(unlink(path), 0);
    }
}

static void test_keys_of_the_wrong_kind(void **state)
{
    (void)state;
    write_pair(EVP_EC_gen("P-256"), KEY_ES256);
    write_pair(EVP_RSA_gen(2048), KEY_RS256);
    assert_int_equal(count_loaded(), 2);
    write_pair(EVP_EC_gen("secp256k1"), KEY_ES256); /* same size, other curve */
    write_pair(EVP_RSA_gen(1024), KEY_RS256);
    assert_int_equal(count_loaded(), 2);
}

/* The public key of one pair with the private key of another. */
static EVP_PKEY *mixed_pair(void)
{
    EVP_PKEY *one = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *mixed = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    unsigned char public[65];
    BIGNUM *private = NULL;
    OSSL_PARAM *params;

    assert_true(
        EVP_PKEY_get_octet_string_param(one, "encoded-pub-key", public, sizeof(public), NULL));
    assert_true(EVP_PKEY_get_bn_param(other, "priv", &private));
    OSSL_PARAM_BLD_push_utf8_string(builder, "group", "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(builder, "pub", public, sizeof(public));
    OSSL_PARAM_BLD_push_BN(builder, "priv", private);
    params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_fromdata_init(context);
    assert_int_equal(EVP_PKEY_fromdata(context, &mixed, EVP_PKEY_KEYPAIR, params), 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    BN_free(private);
    EVP_PKEY_free(one);
    EVP_PKEY_free(other);
    return mixed;
}

static void test_halves_that_do_not_belong_together(void **state)
{
    (void)state;
    write_pair(mixed_pair(), KEY_ES256);
    assert_int_equal(count_loaded(), 0);
}

static void test_secrets_of_the_wrong_length(void **state)
{
    struct signing_key key = {.alg = KEY_HS256, .activate_at = NOW};
    unsigned char secret[33] = {1, 2, 3};
    char name[KEY_NAME_SIZE], *text;

    (void)state;
    memset(key.kid, 'k', KEY_KID_LENGTH);
    key_name_write(&key, name);
    for (int bytes = 31; bytes <= 33; ++bytes) {
        BIO *bio = BIO_new(BIO_s_mem());
        size_t length;

        PEM_write_bio(bio, "JOTD HS256 KEY", "", secret, bytes);
        length = (size_t)BIO_get_mem_data(bio, &text);
        write_file(name, text, length);
        assert_int_equal(count_loaded(), bytes == 32 ? 1 : 0);
        BIO_free(bio);
    }
}

/* A disk that lost the content may leave this, a secret that everybody knows. */
static void test_a_secret_of_zeros(void **state)
{
    struct signing_key key = {.alg = KEY_HS256, .activate_at = NOW};
    const unsigned char secret[32] = {0};
    char name[KEY_NAME_SIZE], *text;
    BIO *bio = BIO_new(BIO_s_mem());
    size_t length;

    (void)state;
    memset(key.kid, 'k', KEY_KID_LENGTH);
    key_name_write(&key, name);
    PEM_write_bio(bio, "JOTD HS256 KEY", "", secret, sizeof(secret));
    length = (size_t)BIO_get_mem_data(bio, &text);
    write_file(name, text, length);
    assert_int_equal(count_loaded(), 0);
    BIO_free(bio);
}

/* The server must not ask a terminal for the passphrase of an encrypted key. */
static void test_encrypted_keys_are_refused(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], *encrypted;
    BIO *bio = BIO_new(BIO_s_mem()), *plain;
    EVP_PKEY *pkey;
    size_t length;

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    plain = BIO_new_mem_buf(text, -1);
    pkey = PEM_read_bio_PrivateKey_ex(plain, NULL, NULL, NULL, NULL, NULL);
    assert_true(
        PEM_write_bio_PKCS8PrivateKey(bio, pkey, EVP_aes_256_cbc(), "secret", 6, NULL, NULL));
    length = (size_t)BIO_get_mem_data(bio, &encrypted);
    write_file(name, encrypted, length);
    assert_int_equal(count_loaded(), 0);
    EVP_PKEY_free(pkey);
    BIO_free(plain);
    BIO_free(bio);
}

static void test_files_that_are_not_keys(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], path[PATH_MAX];
    uint64_t fingerprint;

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    fingerprint = key_directory_fingerprint(directory);
    write_file(".hidden.pem", text, strlen(text));
    write_file("README", text, strlen(text));
    write_file("key.pem~", text, strlen(text));
    assert_int_equal(count_loaded(), 1);
    assert_true(key_directory_fingerprint(directory) == fingerprint);

    /* Neither a pipe without a writer nor a directory blocks the reader. */
    path_of(name, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(count_loaded(), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(count_loaded(), 0);
    assert_int_equal(rmdir(path), 0);
}

/* Kubernetes mounts each key as a link through a link that it swaps. */
static void test_symbolic_links_are_followed(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], path[PATH_MAX];
    uint64_t fingerprint;

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    move(name, "..data");
    path_of(name, path);
    assert_int_equal(symlink("..data", path), 0);
    assert_int_equal(count_loaded(), 1);
    fingerprint = key_directory_fingerprint(directory);
    move("..data", "..gone");
    assert_int_equal(count_loaded(), 0);
    assert_true(key_directory_fingerprint(directory) != fingerprint);
    assert_true(key_directory_fingerprint(directory) != 0);
}

/* Otherwise root would read what the directory's owner may not. */
static void test_no_link_leads_out_of_the_directory(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], path[PATH_MAX], out[PATH_MAX];

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    move(name, "..data");
    path_of(name, path);
    path_of("..data", out); /* an absolute path back into the directory */
    assert_int_equal(symlink(out, path), 0);
    assert_int_equal(count_loaded(), 0);
}

static void test_two_files_for_one_key(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192];
    struct signing_key copy = {.alg = KEY_ES256, .activate_at = NOW, .retire_at = NOW + 100};
    struct key_set *set;

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    memcpy(copy.kid, kid, sizeof(copy.kid));
    key_name_write(&copy, name);
    write_file(name, text, strlen(text));
    set = load();
    assert_int_equal(set->count, 1);
    assert_int_equal(set->keys[0].retire_at, NOW + 100);
    key_set_release(set);
}

static void test_a_key_that_others_may_read_is_used(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], text[8192], path[PATH_MAX];

    (void)state;
    create(KEY_ES256, NOW, kid);
    only_file(name, text);
    path_of(name, path);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(count_loaded(), 1);
}

struct mover {
    char names[2][PATH_MAX];
    atomic_bool stop;
    atomic_int moves;
};

static void *move_to_and_fro(void *argument)
{
    struct mover *mover = argument;

    for (int i = 0; !mover->stop; ++i) {
        if (rename(mover->names[i % 2], mover->names[(i + 1) % 2]) == 0)
            ++mover->moves;
        usleep(300);
    }
    return NULL;
}

/* A key is never missing from a set while its file is renamed. */
static void test_loading_while_files_are_renamed(void **state)
{
    char kid[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE];
    struct mover mover = {.stop = false};
    struct failure failure;
    struct key_set *set;
    pthread_t thread;
    int loads = 0;

    (void)state;
    create(KEY_HS256, NOW, kid);
    set = load();
    for (int i = 0; i < 2; ++i) {
        set->keys[0].retire_at = i == 0 ? 0 : NOW + 100;
        key_name_write(&set->keys[0], name);
        path_of(name, mover.names[i]);
    }
    key_set_release(set);
    assert_int_equal(pthread_create(&thread, NULL, move_to_and_fro, &mover), 0);
    for (int i = 0; i < 100000 && (mover.moves < 500 || loads < 500); ++i) {
        if ((set = key_directory_load(directory, &failure)) == NULL) {
            assert_non_null(strstr(failure.reason, "changes faster"));
            continue;
        }
        ++loads;
        assert_int_equal(set->count, 1);
        assert_string_equal(set->keys[0].kid, kid);
        key_set_release(set);
    }
    mover.stop = true;
    pthread_join(thread, NULL);
    assert_true(mover.moves >= 500 && loads >= 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_create_and_load),
        IN_DIRECTORY(test_create_makes_the_directory),
        IN_DIRECTORY(test_a_full_directory),
        IN_DIRECTORY(test_a_directory_that_everybody_may_write_to),
        IN_DIRECTORY(test_names_that_are_refused),
        IN_DIRECTORY(test_a_kid_that_is_not_the_thumbprint),
        IN_DIRECTORY(test_contents_that_are_refused),
        IN_DIRECTORY(test_keys_of_the_wrong_kind),
        IN_DIRECTORY(test_halves_that_do_not_belong_together),
        IN_DIRECTORY(test_a_secret_of_zeros),
        IN_DIRECTORY(test_secrets_of_the_wrong_length),
        IN_DIRECTORY(test_encrypted_keys_are_refused),
        IN_DIRECTORY(test_files_that_are_not_keys),
        IN_DIRECTORY(test_symbolic_links_are_followed),
        IN_DIRECTORY(test_no_link_leads_out_of_the_directory),
        IN_DIRECTORY(test_two_files_for_one_key),
        IN_DIRECTORY(test_a_key_that_others_may_read_is_used),
        IN_DIRECTORY(test_loading_while_files_are_renamed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
