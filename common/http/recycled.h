/* libh2o keeps what it frees for its next use, of each thread by itself: input buffers, and chunks
 * of the pools of requests, with all that clients have sent in them. */
#ifndef COMMON_HTTP_RECYCLED_H
#define COMMON_HTTP_RECYCLED_H

#define RECYCLED_WIPE_MS 500 /* how often recycled_wipe is to be called */

/* Keeps more buffers of this thread than libh2o would by itself: to free one costs more, since
 * free() overwrites it. */
void recycled_keep(void);

/* Wipes what is kept of this thread. */
void recycled_wipe(void);

#endif
