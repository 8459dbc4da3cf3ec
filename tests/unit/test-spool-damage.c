/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whatever is found in the folder: the spool opens, and what is sound is there. */

#include <sqlite3.h>

#include "spool-test.h"

#define N_EVENTS 1000
#define N_DEAD 20
#define VERSION_AT 60   /* user_version: https://www.sqlite.org/fileformat.html#the_database_header */
#define LARGE 500   /* every so many, an event of several pages */
#define N_KNOWN 50  /* every so many, an id that the producer gave */

/* A spool of two routes, as bytes of its files: closed, or as a crash leaves it. */
typedef struct {
  char *db, *wal;
  gsize db_size, wal_size;
} Image;

static void
fill (Fixture *fixture)
{
  EvbusSpoolRoute *routes[2];
  EvbusLedger change = { .dead = 1 };

  routes[0] = evbus_spool_adopt_route (fixture->spool, "a");
  routes[1] = evbus_spool_adopt_route (fixture->spool, "b");
  for (guint i = 1; i <= N_EVENTS; i++)
    {
      if (i % 100 == 1)
        evbus_spool_begin (fixture->spool);
      {
        g_autofree char *body = g_strdup_printf ("%u", i);
        g_autoptr(EvbusEvent) event = spool_test_event (body, i % LARGE == 0 ? 20000 : 200);

        evbus_spool_append (fixture->spool, event, routes, i % 2 + 1, i % N_KNOWN == 0);
        if (i <= N_DEAD)
          {
            EvbusSpoolDeath death = { event, "refused" };

            evbus_spool_settle (fixture->spool, routes[0], event->seq, NULL, 0, &change, 0, &death, 1);
          }
      }
      if (i % 100 == 0)
        g_assert_true (evbus_spool_commit (fixture->spool, NULL));
    }
}

static void
image_load (Image   *image,
            Fixture *fixture)
{
  g_autofree char *db = g_build_filename (fixture->directory, "spool.db", NULL);
  g_autofree char *wal = g_strconcat (db, "-wal", NULL);

  g_assert_true (g_file_get_contents (db, &image->db, &image->db_size, NULL));
  if (!g_file_get_contents (wal, &image->wal, &image->wal_size, NULL))
    image->wal = NULL;
}

static void
image_clear (Image *image)
{
  g_free (image->db);
  g_free (image->wal);
}

static void
make_image (Image    *image,
            gboolean  closed)
{
  Fixture fixture = { 0 };

  spool_test_set_up (&fixture, NULL);
  fill (&fixture);
  if (!closed)
    {
      image_load (image, &fixture);
      g_assert_nonnull (image->wal);
    }
  evbus_spool_unref (fixture.spool);
  if (closed)
    image_load (image, &fixture);
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);
}

static guint
count_events (EvbusSpool      *spool,
              EvbusSpoolRoute *route,
              guint           *n_damaged)
{
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (spool, route, NULL);
  guint n = 0, last = 0;

  *n_damaged = 0;
  for (;;)
    {
      g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
      g_autoptr(GError) error = NULL;
      guint damaged = 0;

      /* Damage deep in a tree is found here first; the next start recovers. */
      if (!evbus_spool_reader_read (reader, 100, G_MAXSIZE, events, &damaged, &error))
        {
          g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
          return 0;
        }
      if (events->len == 0 && damaged == 0)
        return n;
      *n_damaged += damaged;
      for (guint i = 0; i < events->len; i++)
        {
          guint number = spool_test_number (events->pdata[i]);

          g_assert_cmpuint (number, >, last);
          last = number;
        }
      n += events->len;
    }
}

/* Opens a folder with these files three times: damage that is met while reading is
 * recovered from at the next start. At any time what is read is in order, and no
 * event twice. What is there at last of the events of route a, and two more. */
static guint
open_damaged (const char *db,
              gsize       db_size,
              const char *wal,
              gsize       wal_size)
{
  g_autofree char *directory = g_dir_make_tmp ("evbus-damaged-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (directory, "spool.db", NULL);
  g_autofree char *wal_path = g_strconcat (path, "-wal", NULL);
  guint n = 0;

  g_assert_true (g_file_set_contents (path, db, db_size, NULL));
  if (wal != NULL)
    g_assert_true (g_file_set_contents (wal_path, wal, wal_size, NULL));

  for (guint i = 0; i < 3; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autoptr(EvbusSpool) spool = evbus_spool_open (directory, &error);
      guint n_damaged = 0;
      g_autofree char *note = NULL;
      EvbusSpoolRoute *route;

      g_assert_no_error (error);
      g_assert_nonnull (spool);
      evbus_spool_get_condition (spool, &note);
      if (note != NULL)
        {
          g_assert_true (g_utf8_validate (note, -1, NULL));
          g_test_message ("%s", note);
        }
      spool_test_check_ledgers (spool);
      route = evbus_spool_adopt_route (spool, "a");
      n = count_events (spool, route, &n_damaged);
      {
        g_autoptr(GPtrArray) dead = evbus_spool_list_dead (spool, NULL, 0, 1000, NULL);

        g_assert_true (dead == NULL || dead->len <= N_DEAD);
      }
      /* It works. */
      spool_test_append (spool, &route, 1, N_EVENTS + 1 + i, N_EVENTS + 1 + i, 0, NULL);
      evbus_spool_commit (spool, NULL);
      spool_test_check_ledgers (spool);
    }
  spool_test_remove (directory);
  return n;
}

static void
test_intact (void)
{
  for (guint closed = 0; closed < 2; closed++)
    {
      Image image = { 0 };

      make_image (&image, closed);
      /* Two were appended by the tries before. */
      g_assert_cmpuint (open_damaged (image.db, image.db_size, image.wal, image.wal_size), ==,
                        N_EVENTS - N_DEAD + 2);
      image_clear (&image);
    }
}

static void
test_truncated (void)
{
  Image image = { 0 };

  make_image (&image, TRUE);
  for (guint i = 0; i <= 24; i++)
    {
      gsize size = image.db_size * i / 24 + (i % 3) * 100;
      guint n = open_damaged (image.db, MIN (size, image.db_size), NULL, 0);

      /* The first pages are those of the tables; then events come in order. */
      if (i >= 3)
        g_assert_cmpuint (n, >=, (N_EVENTS - N_DEAD) * (i - 2) / 24);
    }
  image_clear (&image);
}

static void
test_truncated_wal (void)
{
  Image image = { 0 };

  make_image (&image, FALSE);
  for (guint i = 0; i <= 12; i++)
    {
      guint n = open_damaged (image.db, image.db_size, image.wal, image.wal_size * i / 12 + i % 3);

      g_assert_cmpuint (n, <=, N_EVENTS - N_DEAD + 2);
    }
  image_clear (&image);
}

/* Of the first page: what SQLite reads before anything else. */
static void
test_flipped_header (void)
{
  static const struct {
    const char *text;   /* the byte is at its start, or, with NULL, */
    gsize       at;
    guint8      bit;
  } flips[] = {
    { NULL, 16, 0x01 },                      /* size of a page */
    { NULL, 18, 0x04 },                      /* version for writing */
    { NULL, 47, 0x08 },                      /* format of the schema */
    { NULL, VERSION_AT, 0x80 },              /* our format, less than none */
    { NULL, VERSION_AT + 3, 0x02 },          /* and none */
    { NULL, 68, 0x01 },                      /* the application */
    { "CREATE TABLE event", 0, 0x01 },
    { "position INTEGER", 0, 0x01 },         /* a column that is written, and never read by name */
    { "UNIQUE, orphan", 0, 0x01 },
    { "dead_by_route ON", 0, 0x20 },
    { "route_id, number)", 0, 0x01 },
    { "dead_by_routedead", 0, 0x80 },        /* its name, which SQLite's error quotes */
    { "CREATE INDEX", 0, 0x80 },
  };
  Image image = { 0 };

  make_image (&image, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (flips); i++)
    {
      char *byte = flips[i].text == NULL ? image.db + flips[i].at
                                         : memmem (image.db, 4096, flips[i].text, strlen (flips[i].text));

      g_assert_nonnull (byte);
      *byte ^= flips[i].bit;
      g_assert_cmpuint (open_damaged (image.db, image.db_size, NULL, 0), >=, N_EVENTS - N_DEAD + 2);
      *byte ^= flips[i].bit;
    }
  image_clear (&image);
}

/* The first page of a table that is on one of the first 127, by how it begins to be defined: its
 * number stands before that. */
static guint8 *
find_root (Image      *image,
           const char *definition)
{
  guint8 *at = memmem (image->db, 4096, definition, strlen (definition));

  g_assert_nonnull (at);
  g_assert_cmpuint (at[-1], <, 128);
  return (guint8 *) image->db + (at[-1] - 1) * 4096;
}

static void
open_image (Fixture     *fixture,
            const Image *image)
{
  g_autofree char *path = NULL;

  fixture->directory = g_dir_make_tmp ("evbus-damaged-XXXXXX", NULL);
  path = g_build_filename (fixture->directory, "spool.db", NULL);
  g_assert_true (g_file_set_contents (path, image->db, image->db_size, NULL));
  spool_test_open (fixture);
}

static void
close_image (Fixture *fixture)
{
  spool_test_check_ledgers (fixture->spool);
  evbus_spool_unref (fixture->spool);
  spool_test_remove (fixture->directory);
  g_free (fixture->directory);
}

/* Which nothing reads before the first dead letter. */
static void
test_flipped_sequence (void)
{
  Image image = { 0 };
  Fixture fixture = { 0 };
  EvbusLedger change = { .dead = 1 };
  g_autoptr(EvbusEvent) event = spool_test_event ("1", 0);
  EvbusSpoolDeath death = { event, "refused" };
  EvbusSpoolRoute *route;
  g_autoptr(GPtrArray) dead = NULL;
  g_autoptr(GError) error = NULL;

  make_image (&image, TRUE);
  *find_root (&image, "CREATE TABLE sqlite_sequence") ^= 0x80;
  open_image (&fixture, &image);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);

  route = evbus_spool_adopt_route (fixture.spool, "a");
  evbus_spool_begin (fixture.spool);
  evbus_spool_append (fixture.spool, event, &route, 1, FALSE);
  evbus_spool_commit (fixture.spool, &error);
  g_assert_no_error (error);
  evbus_spool_settle (fixture.spool, route, event->seq, NULL, 0, &change, event->weight, &death, 1);
  while (evbus_spool_maintain (fixture.spool))
    ;
  dead = evbus_spool_list_dead (fixture.spool, NULL, 0, 1000, NULL);
  g_assert_cmpuint (dead->len, ==, N_DEAD + 1);
  close_image (&fixture);
  image_clear (&image);
}

/* No check of SQLite's finds it: bytes that are no text. */
static void
test_flipped_known_id (void)
{
  Image image = { 0 };
  Fixture fixture = { 0 };
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr(GPtrArray) ids = NULL;

  make_image (&image, TRUE);
  /* The first row ends its page, with the last character of its id. */
  find_root (&image, "CREATE TABLE known_id")[4095] ^= 0x80;
  open_image (&fixture, &image);
  ids = evbus_spool_load_known_ids (fixture.spool, seqs, replayed);
  g_assert_cmpuint (ids->len, ==, N_EVENTS / N_KNOWN - 1);
  g_assert_cmpuint (seqs->len, ==, ids->len);
  for (guint i = 0; i < ids->len; i++)
    {
      g_assert_true (g_utf8_validate (ids->pdata[i], -1, NULL));
      g_assert_cmpint (g_array_index (seqs, gint64, i), ==, (i + 2) * N_KNOWN);
    }
  close_image (&fixture);
  image_clear (&image);
}

static void
test_flipped (gconstpointer data)
{
  gboolean closed = data != NULL;
  Image image = { 0 };

  make_image (&image, closed);
  for (guint i = 0; i < 40; i++)
    {
      char *bytes = closed ? image.db : image.wal;
      gsize size = closed ? image.db_size : image.wal_size;
      gint at = g_test_rand_int_range (0, (gint32) size);
      char bit = (char) (1 << g_test_rand_int_range (0, 8));
      guint n;

      /* It may be of a newer evbus then, and is left alone. */
      if (closed && at >= VERSION_AT && at < VERSION_AT + 4)
        continue;
      bytes[at] ^= bit;
      n = open_damaged (image.db, image.db_size, image.wal, image.wal_size);
      /* At most the record is lost in which the bit is; those that were settled come
       * back only where the row of the route is lost. */
      if (closed)
        g_assert_cmpuint (n, >=, N_EVENTS - N_DEAD + 2 - 1);
      g_assert_cmpuint (n, <=, N_EVENTS + 2);
      bytes[at] ^= bit;
    }
  image_clear (&image);
}

/* Above the leaves of a table. */
#define INTERIOR 0x05

/* A wrong key there is no damage that SQLite sees: it hides what stands on its wrong
 * side, or leads to what was read before. */
static void
test_wrong_keys (void)
{
  Image image = { 0 };
  guint n_keys = 0;

  make_image (&image, TRUE);
  for (gsize page = 4096; page + 4096 <= image.db_size; page += 4096)
    {
      guint8 *data = (guint8 *) image.db + page;
      guint n_cells = data[0] == INTERIOR ? data[3] << 8 | data[4] : 0;

      for (guint i = 0; i < n_cells; i += g_test_rand_int_range (1, 4))
        {
          guint8 *key = data + (data[12 + 2 * i] << 8 | data[13 + 2 * i]) + 4;
          guint8 bit = (guint8) (1 << g_test_rand_int_range (0, 7));

          while ((*key & 0x80) != 0)
            key++;
          key -= g_test_rand_int_range (0, 2);
          *key ^= bit;
          g_assert_cmpuint (open_damaged (image.db, image.db_size, NULL, 0), ==, N_EVENTS - N_DEAD + 2);
          *key ^= bit;
          n_keys++;
        }
    }
  g_assert_cmpuint (n_keys, >, 10);
  image_clear (&image);
}

/* A page that counts too few rows or children hides the others. */
static void
test_wrong_counts (void)
{
  Image image = { 0 };
  guint n_pages = 0;

  make_image (&image, TRUE);
  for (gsize page = 4096; page + 4096 <= image.db_size; page += 4096)
    {
      guint8 *data = (guint8 *) image.db + page;
      guint n_cells = data[3] << 8 | data[4];
      gboolean leaf = data[0] == 0x0d && n_cells > 1 && memmem (data, 4096, "EVR1", 4) != NULL && page % 5 == 0;

      if (!leaf && data[0] != INTERIOR)
        continue;
      data[4]--;
      g_assert_cmpuint (open_damaged (image.db, image.db_size, NULL, 0), ==, N_EVENTS - N_DEAD + 2);
      data[4]++;
      n_pages++;
    }
  g_assert_cmpuint (n_pages, >, 10);
  image_clear (&image);
}

/* Whole pages, among them the first ones. */
static void
test_zeroed (void)
{
  Image image = { 0 };
  guint n_pages;

  make_image (&image, TRUE);
  n_pages = image.db_size / 4096;
  for (guint i = 0; i < 40; i++)
    {
      guint page = i < 14 ? i : (guint) g_test_rand_int_range (0, n_pages);
      g_autofree char *copy = g_memdup2 (image.db, image.db_size);
      guint n;

      memset (copy + page * 4096, 0, 4096);
      n = open_damaged (copy, image.db_size, NULL, 0);
      g_test_message ("page %u: %u", page, n);
      /* Which events "a" had settled is lost with its row. */
      g_assert_cmpuint (n, >=, N_EVENTS - N_DEAD - 40);
      g_assert_cmpuint (n, <=, N_EVENTS + 2);
    }
  image_clear (&image);
}

static void
test_foreign (void)
{
  g_autofree char *noise = g_malloc (100000);
  static const char text[] = "this is a letter, and no database at all\n";

  for (guint i = 0; i < 100000; i++)
    noise[i] = (char) g_test_rand_int_range (0, 256);
  g_assert_cmpuint (open_damaged (noise, 100000, NULL, 0), ==, 2);
  g_assert_cmpuint (open_damaged (text, strlen (text), NULL, 0), ==, 2);
  memcpy (noise, "SQLite format 3", 16);
  g_assert_cmpuint (open_damaged (noise, 100000, noise, 50000), ==, 2);
  g_assert_cmpuint (open_damaged ("", 0, NULL, 0), ==, 2);
  g_assert_cmpuint (open_damaged ("", 0, noise, 50000), ==, 2);
}

static void
test_foreign_database (void)
{
  g_autofree char *directory = g_dir_make_tmp ("evbus-foreign-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (directory, "spool.db", NULL);
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusSpool) spool = NULL;
  g_autoptr(GDir) dir = NULL;
  g_autofree char *note = NULL;
  const char *name;
  gboolean found = FALSE;
  sqlite3 *db;

  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "CREATE TABLE photo (name TEXT); INSERT INTO photo VALUES ('mum')",
                                 NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close (db);

  spool = evbus_spool_open (directory, &error);
  g_assert_no_error (error);
  g_assert_cmpint (evbus_spool_get_condition (spool, &note), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  g_assert_nonnull (strstr (note, "spool.db.damaged-"));

  /* It is there, as it was. */
  dir = g_dir_open (directory, 0, NULL);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      if (g_str_has_prefix (name, "spool.db.damaged-") && !g_str_has_suffix (name, "-shm"))
        {
          g_autofree char *aside = g_build_filename (directory, name, NULL);
          g_autofree char *contents = NULL;
          gsize size;

          g_assert_true (g_file_get_contents (aside, &contents, &size, NULL));
          found |= memmem (contents, size, "mum", 3) != NULL;
        }
    }
  g_assert_true (found);
  g_clear_pointer (&spool, evbus_spool_unref);
  spool_test_remove (directory);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (spool_test_write_log, NULL, NULL);
  g_test_add_func ("/spool/damage/none", test_intact);
  g_test_add_func ("/spool/damage/truncated", test_truncated);
  g_test_add_func ("/spool/damage/truncated-wal", test_truncated_wal);
  g_test_add_func ("/spool/damage/flipped-header", test_flipped_header);
  g_test_add_func ("/spool/damage/flipped-sequence", test_flipped_sequence);
  g_test_add_func ("/spool/damage/flipped-known-id", test_flipped_known_id);
  g_test_add_data_func ("/spool/damage/flipped", "closed", test_flipped);
  g_test_add_data_func ("/spool/damage/flipped-wal", NULL, test_flipped);
  g_test_add_func ("/spool/damage/wrong-keys", test_wrong_keys);
  g_test_add_func ("/spool/damage/wrong-counts", test_wrong_counts);
  g_test_add_func ("/spool/damage/zeroed", test_zeroed);
  g_test_add_func ("/spool/damage/foreign", test_foreign);
  g_test_add_func ("/spool/damage/foreign-database", test_foreign_database);
  return g_test_run ();
}
