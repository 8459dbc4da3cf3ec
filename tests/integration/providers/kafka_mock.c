/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* kafka-mock PORT…: librdkafka's mock cluster, a broker for each port, in memory.
 * Prints "ready", then reads commands and answers each with "ok" or "error …":
 *
 * topic NAME PARTITIONS        makes a topic
 * topic-error NAME CODE        metadata of the topic has that error (0: no more)
 * errors API CODE…             the next requests of that API fail so (-195: disconnect)
 * clear API                    they do not any more
 * down BROKER, up BROKER       disconnects, and takes no connections; -1: all brokers
 * leader NAME PARTITION BROKER makes that broker the leader
 * version API MIN MAX          the versions that the brokers know
 */

#include <dlfcn.h>
#include <glib.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_WORDS 64

static char **ports;

/* The cluster would take ports of its own choice, other ones each time. */
__attribute__ ((visibility ("default"))) int
bind (int                    fd,
      const struct sockaddr *address,
      socklen_t              size)
{
  int (* next) (int, const struct sockaddr *, socklen_t) = dlsym (RTLD_NEXT, "bind");
  struct sockaddr_in chosen;
  int on = 1;

  if (address->sa_family != AF_INET || ports == NULL || *ports == NULL)
    return next (fd, address, size);
  memcpy (&chosen, address, sizeof chosen);
  chosen.sin_port = htons (atoi (*ports++));
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return next (fd, (struct sockaddr *) &chosen, sizeof chosen);
}

static rd_kafka_resp_err_t
make_topic (rd_kafka_mock_cluster_t *cluster,
            char                   **words)
{
  return rd_kafka_mock_topic_create (cluster, words[0], atoi (words[1]), 1);
}

static rd_kafka_resp_err_t
set_topic_error (rd_kafka_mock_cluster_t *cluster,
                 char                   **words)
{
  rd_kafka_mock_topic_set_error (cluster, words[0], atoi (words[1]));
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
push_errors (rd_kafka_mock_cluster_t *cluster,
             char                   **words)
{
  rd_kafka_resp_err_t errors[MAX_WORDS];
  guint n = 0;

  for (char **word = words + 1; *word != NULL; word++)
    errors[n++] = atoi (*word);
  rd_kafka_mock_push_request_errors_array (cluster, atoi (words[0]), n, errors);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
clear_errors (rd_kafka_mock_cluster_t *cluster,
              char                   **words)
{
  rd_kafka_mock_clear_request_errors (cluster, atoi (words[0]));
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
set_down (rd_kafka_mock_cluster_t *cluster,
          char                   **words)
{
  return rd_kafka_mock_broker_set_down (cluster, atoi (words[0]));
}

static rd_kafka_resp_err_t
set_up (rd_kafka_mock_cluster_t *cluster,
        char                   **words)
{
  return rd_kafka_mock_broker_set_up (cluster, atoi (words[0]));
}

static rd_kafka_resp_err_t
set_leader (rd_kafka_mock_cluster_t *cluster,
            char                   **words)
{
  return rd_kafka_mock_partition_set_leader (cluster, words[0], atoi (words[1]), atoi (words[2]));
}

static rd_kafka_resp_err_t
set_version (rd_kafka_mock_cluster_t *cluster,
             char                   **words)
{
  return rd_kafka_mock_set_apiversion (cluster, atoi (words[0]), atoi (words[1]), atoi (words[2]));
}

static const struct {
  const char          *name;
  guint                n_words;    /* at least */
  rd_kafka_resp_err_t (* run) (rd_kafka_mock_cluster_t *cluster,
                               char                   **words);
} commands[] = {
  { "topic", 2, make_topic },
  { "topic-error", 2, set_topic_error },
  { "errors", 2, push_errors },
  { "clear", 1, clear_errors },
  { "down", 1, set_down },
  { "up", 1, set_up },
  { "leader", 3, set_leader },
  { "version", 3, set_version },
};

static void
answer (rd_kafka_mock_cluster_t *cluster,
        char                    *line)
{
  g_auto(GStrv) words = g_strsplit (g_strstrip (line), " ", MAX_WORDS);

  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    {
      rd_kafka_resp_err_t code;

      if (g_strcmp0 (words[0], commands[i].name) != 0 || g_strv_length (words) <= commands[i].n_words)
        continue;
      code = commands[i].run (cluster, words + 1);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        puts ("ok");
      else
        printf ("error %s\n", rd_kafka_err2str (code));
      return;
    }
  puts ("error: there is no such command");
}

int
main (int    argc,
      char **argv)
{
  char text[512];
  rd_kafka_t *rk = rd_kafka_new (RD_KAFKA_PRODUCER, rd_kafka_conf_new (), text, sizeof text);
  rd_kafka_mock_cluster_t *cluster;
  char line[1024];

  setvbuf (stdout, NULL, _IOLBF, 0);
  ports = argv + 1;
  cluster = rd_kafka_mock_cluster_new (rk, argc - 1);
  if (cluster == NULL || *ports != NULL)
    g_error ("the ports are not free");
  puts ("ready");

  while (fgets (line, sizeof line, stdin) != NULL)
    answer (cluster, line);

  rd_kafka_mock_cluster_destroy (cluster);
  rd_kafka_destroy (rk);
  return 0;
}
