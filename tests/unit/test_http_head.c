/* common/http/http_head: rejected framing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/http/http_head.h"

static bool chunked;

static const char *complaint(const char *head)
{
    return http_head_complaint(head, strlen(head), &chunked);
}

#define START "POST /token HTTP/1.1\r\nHost: a\r\n"

static void takes_what_is_sound(void **state)
{
    (void)state;
    assert_null(complaint("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_null(complaint("\r\nGET / HTTP/1.1\r\nhOsT:a\r\n\r\n"));
    assert_null(complaint("GET / HTTP/1.1\r\nHost:\r\n\r\n"));
    assert_null(complaint("GET / HTTP/1.0\r\n\r\n"));
    assert_null(complaint(START "Content-Length:  29 \r\n\r\nbody\nwith\nlines"));
    assert_false(chunked);
    assert_null(complaint(START "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"));
    assert_true(chunked);
    assert_null(complaint(START "X-Content-Length: a\r\nX: Host: b\r\n\r\n"));
}

static void refuses_what_readers_may_differ_on(void **state)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        START "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        START "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        START "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        START "Content-Length: 1, 1\r\n\r\n",
        START "Content-Length: +1\r\n\r\n",
        START "Content-Length:\r\n\r\n",
        START "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
        START "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        START "Transfer-Encoding: gzip, chunked\r\n\r\n",
        START "Transfer-Encoding:\r\n\r\n",
        START "X: a\r\n b\r\n\r\n",
        START "novalue\r\n\r\n",
        START,
        "",
    };

    (void)state;
    for (size_t i = 0; i != sizeof(heads) / sizeof(heads[0]); ++i) {
        if (complaint(heads[i]) == NULL)
            fail_msg("taken: %s", heads[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_sound),
        cmocka_unit_test(refuses_what_readers_may_differ_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
