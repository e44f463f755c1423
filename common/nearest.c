#include "common/nearest.h"

#include <string.h>

size_t nearest_distance(const char *a, const char *b)
{
    size_t row[64];
    size_t b_length = strnlen(b, 63);

    for (size_t j = 0; j <= b_length; ++j)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0' && i < 64; ++i) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_length; ++j) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j - 1] + 1 < change)
                change = row[j - 1] + 1;
            if (row[j] + 1 < change)
                change = row[j] + 1;
            row[j] = change;
        }
    }
    return row[b_length];
}

bool nearest_try(struct nearest *nearest, const char *typed, const char *known)
{
    size_t distance = nearest_distance(typed, known);

    if (nearest->name != NULL && distance >= nearest->distance)
        return false;
    *nearest = (struct nearest){known, distance};
    return true;
}

bool nearest_is_near(const struct nearest *nearest)
{
    return nearest->name != NULL && nearest->distance <= (strlen(nearest->name) < 4 ? 1u : 2u);
}
