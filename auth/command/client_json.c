#include "auth/command/client_json.h"

#include "auth/store/client_document.h"

json_t *client_json(const struct client_values *client)
{
    json_t *object = client_document(client);

    json_object_set_new(object, "scope", json_string(client->scope));
    return object;
}

char *client_json_line(const char *object)
{
    json_t *parsed = client_document_parse(object);
    char *line =
        json_is_object(parsed) && json_object_size(parsed) == 0
            ? NULL
            : json_dumps(parsed, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));

    json_decref(parsed);
    return line;
}
