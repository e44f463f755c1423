#include "auth/endpoint/admin/problem.h"

#include <string.h>

#include "common/buffer.h"
#include "common/http/reply.h"
#include "common/http/request.h"

static void append_member(struct buffer *text, const char *name, const char *value)
{
    buffer_printf(text, "\"%s\":\"", name);
    buffer_append_json(text, slice_of(value));
    buffer_append_text(text, "\"");
}

void problem_reply(h2o_req_t *req, int status, const char *pointer, const char *detail)
{
    struct buffer text = {0};

    request_wipe(req);
    buffer_printf(&text, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,",
                  reply_reason(status), status);
    append_member(&text, "detail", detail);
    if (pointer != NULL) {
        buffer_append_text(&text, ",\"errors\":[{");
        append_member(&text, "pointer", pointer);
        buffer_append_text(&text, ",");
        append_member(&text, "detail", detail);
        buffer_append_text(&text, "}]");
    }
    buffer_append_text(&text, "}");
    reply_no_store(req);
    reply(req, status, SLICE("application/problem+json"),
          request_keep(req, (struct slice){text.bytes, text.size}));
    buffer_dispose(&text);
}

void problem_refuse(h2o_req_t *req, int status, const char *description)
{
    problem_reply(req, status, NULL, description);
}
