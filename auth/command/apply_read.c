#include "auth/command/apply_read.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/client/secret.h"
#include "common/buffer.h"
#include "common/yaml.h"

#define SECRET_FILE_MAX 4096 /* bytes of the line */

static const char *const members[] = {"tiers", "organizations", "clients"};
static const char *const ids[] = {"name", "organization_id", "client_id"};

/* Files */

static bool read_all(FILE *file, struct buffer *text, struct failure *failure)
{
    size_t got;

    while ((got = fread(buffer_reserve(text, 65536), 1, 65536, file)) != 0) {
        text->size += got;
        if (text->size > APPLY_READ_MAX)
            return failure_set(failure, "it is larger than 1 GiB");
    }
    return !ferror(file) || failure_set(failure, "%s", strerror(errno));
}

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), wanted = strlen(end);

    return length >= wanted && strcmp(path + length - wanted, end) == 0;
}

/* JSON is read by jansson, which is faster, has better words for its faults, and bounds. */
static json_t *parse(const char *path, const struct buffer *text, struct failure *failure)
{
    struct slice all = {text->bytes, text->size};
    size_t blank = 0;
    json_error_t error;
    json_t *document;

    while (blank != all.length && strchr(" \t\r\n", all.bytes[blank]) != NULL)
        ++blank;
    if (ends_with(path, ".yaml") || ends_with(path, ".yml") ||
        (strcmp(path, "-") == 0 && (blank == all.length || all.bytes[blank] != '{')))
        return yaml_parse(all, failure);
    document = json_loadb(all.bytes, all.length, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL)
        failure_set(failure, "line %d, column %d: %.200s", error.line, error.column, error.text);
    return document;
}

static json_t *read_file(const char *path, struct failure *failure)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    struct buffer text = {0};
    json_t *document = NULL;

    if (file == NULL)
        failure_set(failure, "%s", strerror(errno));
    else if (read_all(file, &text, failure))
        document = parse(path, &text, failure);
    if (file != NULL && !is_stdin)
        fclose(file);
    buffer_dispose(&text);
    return document;
}

/* Secrets */

/* The first line of the file, hashed. A relative path begins at the folder of `path`. */
static bool hash_file(const char *path, const char *secret_path, char hex[2 * SECRET_DIGEST_LENGTH],
                      struct failure *failure)
{
    char *copy = strdup(path), *whole = NULL, line[SECRET_FILE_MAX + 1];
    bool is_relative = *secret_path != '/' && strcmp(path, "-") != 0;
    struct secret_digest digest;
    FILE *file;
    bool done;

    if (copy == NULL || asprintf(&whole, "%s%s%s", is_relative ? dirname(copy) : "",
                                 is_relative ? "/" : "", secret_path) < 0)
        whole = NULL;
    free(copy);
    file = whole != NULL ? fopen(whole, "re") : NULL;
    done = file != NULL && fgets(line, sizeof(line), file) != NULL;
    if (!done)
        failure_set(failure, "secret_file %.200s: %s", secret_path,
                    file != NULL ? "there is no line in it" : strerror(errno));
    if (file != NULL)
        fclose(file);
    free(whole);
    if (!done)
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    done = *line != '\0' ||
           failure_set(failure, "secret_file %.200s: its first line is empty", secret_path);
    secret_digest(slice_of(line), &digest);
    OPENSSL_cleanse(line, sizeof(line));
    for (size_t i = 0; i != SECRET_DIGEST_LENGTH; ++i)
        snprintf(hex + 2 * i, 3, "%02x", digest.bytes[i]);
    return done;
}

/* Puts the SHA-256 in the place of each secret_file. */
static bool hash_secrets(const char *path, const json_t *client, struct failure *failure)
{
    json_t *secrets = json_object_get(client, "secrets"), *secret;
    size_t index;

    json_array_foreach(secrets, index, secret)
    {
        const char *file = json_string_value(json_object_get(secret, "secret_file"));
        char hex[2 * SECRET_DIGEST_LENGTH + 1];

        if (file == NULL)
            continue;
        if (!hash_file(path, file, hex, failure))
            return false;
        json_object_del(secret, "secret_file");
        json_object_set_new(secret, "sha256", json_string(hex));
    }
    return true;
}

static bool hash_all_secrets(const char *path, const json_t *document, struct failure *failure)
{
    json_t *client;
    size_t index;

    json_array_foreach(json_object_get(document, "clients"), index, client)
    {
        const char *id = json_string_value(json_object_get(client, "client_id"));
        struct failure cause;

        if (!hash_secrets(path, client, &cause))
            return failure_set(failure, "client %.64s: %.400s", id != NULL ? id : "without id",
                               cause.reason);
    }
    return true;
}

/* Together */

/* Which file an object came from is remembered in `from`: `MEMBER ID`. */
static bool check_twice(json_t *from, const char *path, size_t member, const json_t *object,
                        struct failure *failure)
{
    const char *id = json_string_value(json_object_get(object, ids[member]));
    const char *other;
    char key[256];

    if (id == NULL)
        return true; /* apply says so */
    snprintf(key, sizeof(key), "%s %.200s", members[member], id);
    other = json_string_value(json_object_get(from, key));
    if (other != NULL)
        return failure_set(failure, "%s %.64s is in %.100s too", members[member], id, other);
    json_object_set_new(from, key, json_string(path));
    return true;
}

static bool add(json_t *whole, json_t *from, const char *path, const json_t *document,
                struct failure *failure)
{
    json_t *value, *object;
    const char *name;
    size_t index;

    if (!json_is_object(document))
        return failure_set(failure, "it is not an object with tiers, organizations and clients");
    for (size_t i = 0; i != COUNT_OF(members); ++i) {
        json_array_foreach(json_object_get(document, members[i]), index, object)
        {
            if (!check_twice(from, path, i, object, failure))
                return false;
        }
    }
    json_object_foreach((json_t *)document, name, value)
    {
        json_t *there = json_object_get(whole, name);

        if (json_is_array(there) && json_is_array(value))
            json_array_extend(there, value);
        else
            json_object_set(whole, name, value);
    }
    return true;
}

json_t *apply_read_files(const char *const *paths, size_t count, struct failure *failure)
{
    json_t *whole = json_object(), *from = json_object();
    bool done = true;

    for (size_t i = 0; done && i != count; ++i) {
        struct failure cause;
        json_t *document = read_file(paths[i], &cause);

        done = (document != NULL && hash_all_secrets(paths[i], document, &cause) &&
                add(whole, from, paths[i], document, &cause)) ||
               failure_set(failure, "%.200s: %.600s", paths[i], cause.reason);
        json_decref(document);
    }
    json_decref(from);
    if (done)
        return whole;
    json_decref(whole);
    return NULL;
}
