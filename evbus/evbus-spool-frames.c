/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Home-made with evbus-spool-pages.c, since SQLite shows nobody the frames of its log. The
 * layout and the checksums are those of https://sqlite.org/fileformat.html, sections 4.1 and
 * 4.2: each frame has the sum of all before it, so what a cut of the power has torn, and
 * what an earlier use of the file has left, ends the log. */

#include "evbus-spool-frames-private.h"

#include <string.h>
#include <unistd.h>

#define HEADER 32u
#define FRAME_HEADER 24u

/* The last bit tells in which order of bytes the sums are made. */
#define MAGIC 0x377f0682u

typedef struct {
  gboolean big_endian;
  guint32  sum[2];
} Checksum;

static guint32
get_be32 (const guint8 *data)
{
  return (guint32) data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
}

/* @size: a multiple of 8. */
static void
add (Checksum     *self,
     const guint8 *data,
     gsize         size)
{
  for (gsize i = 0; i < size; i += 8)
    {
      guint32 words[2] = { get_be32 (data + i), get_be32 (data + i + 4) };

      if (!self->big_endian)
        {
          words[0] = GUINT32_SWAP_LE_BE_CONSTANT (words[0]);
          words[1] = GUINT32_SWAP_LE_BE_CONSTANT (words[1]);
        }
      self->sum[0] += words[0] + self->sum[1];
      self->sum[1] += words[1] + self->sum[0];
    }
}

static gboolean
is_sum (const Checksum *self,
        const guint8   *stored)
{
  return get_be32 (stored) == self->sum[0] && get_be32 (stored + 4) == self->sum[1];
}

static gboolean
read_header (int       fd,
             guint     page_size,
             guint8   *header,
             Checksum *sum)
{
  if (pread (fd, header, HEADER, 0) != HEADER || (get_be32 (header) & ~1u) != MAGIC ||
      get_be32 (header + 8) != page_size)
    return FALSE;
  sum->big_endian = (get_be32 (header) & 1) != 0;
  add (sum, header, HEADER - 8);
  return is_sum (sum, header + HEADER - 8);
}

GArray *
evbus_spool_frames_read (int   fd,
                         guint page_size)
{
  GArray *frames = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolFrame));
  gsize size = FRAME_HEADER + page_size;
  g_autofree guint8 *frame = g_malloc (size);
  guint8 header[HEADER];
  Checksum sum = { 0 };
  guint n_committed = 0;

  if (!read_header (fd, page_size, header, &sum))
    return frames;
  for (goffset at = HEADER; pread (fd, frame, size, at) == (gssize) size; at += size)
    {
      EvbusSpoolFrame found = { get_be32 (frame), at + FRAME_HEADER };

      add (&sum, frame, 8);
      add (&sum, frame + FRAME_HEADER, page_size);
      if (found.page == 0 || memcmp (frame + 8, header + 16, 8) != 0 || !is_sum (&sum, frame + 16))
        break;
      g_array_append_val (frames, found);
      /* The last frame of a commit has the number of pages there are. */
      if (get_be32 (frame + 4) != 0)
        n_committed = frames->len;
    }
  g_array_set_size (frames, n_committed);
  return frames;
}
