/* auth/client/client: authentication, and valid ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "auth/client/client_cache.h"
#include "auth/client/scope.h"

#define NOW 1700000000000

static struct secret_digest digest_of(const char *text)
{
    struct secret_digest digest;

    secret_digest(slice_of(text), &digest);
    return digest;
}

#define LET_IN AUTH_FAILURE_COUNT

/* Returns LET_IN, or the reason for a refusal. */
static enum auth_failure authenticate(const struct client *client,
                                      const struct secret_digest *digest, int64_t now_ms)
{
    enum auth_failure failure;

    return client_authenticate(client, digest, now_ms, &failure) != NULL ? LET_IN : failure;
}

static void lets_in_by_any_live_secret(void **state)
{
    struct client client = {.enabled = true, .organization_enabled = true};
    struct secret_digest first = digest_of("first"), second = digest_of("second"),
                         last = digest_of("last"), wrong = digest_of("wrong");

    (void)state;
    client.secrets[0] = (struct client_secret){first, INT64_MAX, "1"};
    client.secrets[1] = (struct client_secret){second, NOW + 1, "2"};
    client.secrets[3] = (struct client_secret){last, INT64_MAX, "4"};
    assert_int_equal(authenticate(&client, &first, NOW), LET_IN);
    assert_int_equal(authenticate(&client, &second, NOW), LET_IN);
    assert_int_equal(authenticate(&client, &last, NOW), LET_IN);
    assert_int_equal(authenticate(&client, &wrong, NOW), AUTH_WRONG_SECRET);
    /* The overlap of a rotation ends while the client is cached. */
    assert_int_equal(authenticate(&client, &second, NOW + 1), AUTH_EXPIRED_SECRET);
    assert_int_equal(authenticate(&client, &first, NOW + 1), LET_IN);
}

static void tells_which_secret_was_used(void **state)
{
    struct client client = {.enabled = true, .organization_enabled = true};
    enum auth_failure failure;
    char text[] = "0";

    (void)state;
    for (size_t i = 0; i != CLIENT_MAX_SECRETS; ++i) {
        text[0] = (char)('0' + i);
        client.secrets[i] = (struct client_secret){digest_of(text), INT64_MAX, ""};
    }
    for (size_t i = 0; i != CLIENT_MAX_SECRETS; ++i) {
        struct secret_digest digest = client.secrets[i].digest;

        assert_ptr_equal(client_authenticate(&client, &digest, NOW, &failure), client.secrets + i);
    }
}

static void lets_nobody_in_without_client_or_secret(void **state)
{
    struct client client = {.enabled = true, .organization_enabled = true};
    struct secret_digest right = digest_of("right"), zero = {{0}};

    (void)state;
    assert_int_equal(authenticate(NULL, &right, NOW), AUTH_UNKNOWN_CLIENT);
    assert_int_equal(authenticate(NULL, &zero, NOW), AUTH_UNKNOWN_CLIENT);
    assert_int_not_equal(authenticate(&client, &zero, NOW), LET_IN); /* an empty slot is none */
    client.secrets[0] = (struct client_secret){right, INT64_MAX, "1"};
    client.organization_enabled = false;
    assert_int_equal(authenticate(&client, &right, NOW), AUTH_DISABLED_ORGANIZATION);
    client.enabled = false;
    assert_int_equal(authenticate(&client, &right, NOW), AUTH_DISABLED_CLIENT);
}

static void knows_the_form_of_ids(void **state)
{
    static const char id64[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    (void)state;
    assert_true(client_id_is_valid(SLICE("a")));
    assert_true(client_id_is_valid(SLICE("Aa0._-")));
    assert_true(client_id_is_valid(slice_of(id64)));
    assert_false(client_id_is_valid((struct slice){"aa"
                                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                                   65}));
    assert_false(client_id_is_valid(SLICE("")));
    assert_false(client_id_is_valid(SLICE("a b")));
    assert_false(client_id_is_valid(SLICE("a\0b")));
    assert_false(client_id_is_valid(SLICE("\xc3\xa4")));
}

#define HEX64 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static const char one_digest[] = HEX64 "::0a1b2c";

static const char *const sound[CLIENT_COLUMN_COUNT] = {
    "id",         "free",
    "t",          "0",
    "read write", "https://a urn:b",
    one_digest,   "acme",
    "t",          "{\"plan\": \"gold\", \"n\": 1}",
    "https://a",  "1700000000000",
    "20",         "200",
    "5000",
};

/* Makes a libpq result of one row. */
static PGresult *result_of(const char *const *values, int columns)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc attributes[CLIENT_COLUMN_COUNT] = {0};

    for (int i = 0; i != columns; ++i)
        attributes[i].name = (char *)"column";
    assert_true(PQsetResultAttrs(result, columns, attributes));
    for (int i = 0; i != columns; ++i)
        assert_true(PQsetvalue(result, 0, i, (char *)values[i],
                               values[i] != NULL ? (int)strlen(values[i]) : -1));
    return result;
}

static struct client *make(const char *const *values, int columns, struct failure *failure)
{
    PGresult *result = result_of(values, columns);
    struct client *client = client_make(result, 0, 0, 1000, failure);

    PQclear(result);
    return client;
}

static void makes_a_record_of_a_sound_row(void **state)
{
    struct failure failure;
    struct client *client = make(sound, CLIENT_COLUMN_COUNT, &failure);

    (void)state;
    assert_non_null(client);
    assert_true(slice_equal(client->scope, SLICE("read write")));
    assert_true(slice_equal(client->audiences, SLICE("https://a urn:b")));
    assert_true(slice_equal(client->organization, SLICE("acme")));
    assert_true(client_is_enabled(client));
    assert_true(slice_equal(client->claims, SLICE("\"plan\": \"gold\", \"n\": 1")));
    assert_true(slice_equal(client->introspect, SLICE("https://a")));
    assert_int_equal(client->valid_from_ms, 1700000000000);
    assert_int_equal(client->quota.limits[QUOTA_HOUR], 200);
    assert_int_equal(client->secrets[0].expires_at_ms, INT64_MAX);
    assert_string_equal(client->secrets[0].id, "0a1b2c");
    assert_int_equal(client->secrets[1].expires_at_ms, 0);
    client_release(client);
}

static void tells_records_that_say_the_same(void **state)
{
    static const char *const others[CLIENT_COLUMN_COUNT] = {
        "b", "pro", "f", "61",  "read writ", "https://a urn:c", "", "", "f", "",
        "*", "0",   "1", "201", "1"};
    struct failure failure;
    struct client *client = make(sound, CLIENT_COLUMN_COUNT, &failure);

    (void)state;
    for (int column = -1; column != CLIENT_COLUMN_COUNT; ++column) {
        const char *values[CLIENT_COLUMN_COUNT];
        struct client *other;

        memcpy(values, sound, sizeof(values));
        if (column >= 0)
            values[column] = others[column];
        other = make(values, CLIENT_COLUMN_COUNT, &failure);
        assert_non_null(other);
        assert_true(client_equal(client, other) == (column < 0));
        client_release(other);
    }
    client_release(client);
}

/* The ledger's row and the token's claims are written without further checks of a record. */
static void makes_no_record_of_a_row_that_breaks_the_rules(void **state)
{
    static char long_scope[SCOPE_MAX + 2], long_audience[CLIENT_AUDIENCE_MAX + 2];
    static char id65[66], long_claims[CLIENT_CLAIMS_MAX + 2];
    const struct {
        int column;
        const char *value;
    } cases[] = {
        {0, ""},
        {0, id65},
        {0, "a\tb"},
        {0, "a\",\"admin\":\"true"},
        {1, ""},
        {1, "a tier"},
        {1, "tier\n"},
        {1, "a-name-that-is-longer-than-32-bytes"},
        {3, "-1"},
        {3, "86401"},
        {3, ""},
        {3, "99999999999999999999"},
        {4, long_scope},
        {4, "a\",\"admin\":\"true"},
        {4, "a  b"},
        {4, " "},
        {4, "a\\"},
        {4, "\xc3\xa4"},
        {5, long_audience},
        {5, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"},
        {5, "https://a\""},
        {5, "https://a\n"},
        {7, "a b"},
        {7, "acme\t"},
        {9, "[]"},
        {9, "1"},
        {9, "{\"a\": 1, \"a\": 2}"},
        {9, "{\"scope\": \"all\"}"},
        {9, "{\"a\": 1}, {"},
        {9, " {\"a\": 1}"},
        {9, "{\"a\": 1} "},
        {9, long_claims},
        {10, "a\"b"},
        {11, "-1"},
        {11, "12345678901234"},
        {12, "-1"},
        {13, "1000000000001"},
        {14, "many"},
        {14, NULL},
    };
    struct failure failure;

    (void)state;
    memset(long_scope, 'a', SCOPE_MAX + 1);
    memset(long_audience, 'a', CLIENT_AUDIENCE_MAX + 1);
    memset(id65, 'a', 65);
    memset(long_claims, ' ', CLIENT_CLAIMS_MAX + 1);
    long_claims[0] = '{';
    long_claims[CLIENT_CLAIMS_MAX] = '}';
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        const char *values[CLIENT_COLUMN_COUNT];

        memcpy(values, sound, sizeof(values));
        values[cases[i].column] = cases[i].value;
        if (make(values, CLIENT_COLUMN_COUNT, &failure) != NULL)
            fail_msg("column %d: %s", cases[i].column, cases[i].value);
        assert_non_null(strstr(failure.reason, "client"));
    }
}

static void makes_no_record_of_other_columns(void **state)
{
    struct failure failure;

    (void)state;
    for (int columns = 0; columns != CLIENT_COLUMN_COUNT; ++columns)
        assert_null(make(sound, columns, &failure));
}

static void reads_no_secret_past_its_end(void **state)
{
    static const char *const secrets[] = {HEX64, HEX64 " ", "00:", ":", " ", HEX64 "00:", "zz"};

    (void)state;
    for (size_t i = 0; i != COUNT_OF(secrets); ++i) {
        const char *values[CLIENT_COLUMN_COUNT];
        struct failure failure;
        struct client *client;

        memcpy(values, sound, sizeof(values));
        values[6] = secrets[i];
        client = make(values, CLIENT_COLUMN_COUNT, &failure);
        assert_non_null(client);
        assert_int_equal(client->secrets[0].expires_at_ms, 0);
        client_release(client);
    }
}

static void says_whose_tokens_it_may_ask_about(void **state)
{
    const struct {
        const char *introspect, *audiences;
        bool may;
    } cases[] = {
        {"", "https://a", false},
        {"https://a", "https://a", true},
        {"https://a https://b", "urn:x https://b", true},
        {"https://a", "https://a/ https://A", false},
        {"*", "https://a", true},
        {"https://a", "*", false},
    };

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        struct client client = {.introspect = slice_of(cases[i].introspect)};

        assert_true(client_may_introspect(&client, slice_of(cases[i].audiences)) == cases[i].may);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_in_by_any_live_secret),
        cmocka_unit_test(tells_which_secret_was_used),
        cmocka_unit_test(says_whose_tokens_it_may_ask_about),
        cmocka_unit_test(lets_nobody_in_without_client_or_secret),
        cmocka_unit_test(knows_the_form_of_ids),
        cmocka_unit_test(makes_a_record_of_a_sound_row),
        cmocka_unit_test(tells_records_that_say_the_same),
        cmocka_unit_test(makes_no_record_of_a_row_that_breaks_the_rules),
        cmocka_unit_test(makes_no_record_of_other_columns),
        cmocka_unit_test(reads_no_secret_past_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
