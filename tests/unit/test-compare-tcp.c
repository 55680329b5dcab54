/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP is compared as a byte stream: what leaves, and acknowledging what. */
#include "compare-script.h"

/* ------------------------------------------------ the stream and its cuts */

static const Script stream[] = {
    { "primary-first", "p 0+100; s 0+100 > 0+100; held 0; matched 1" },
    { "secondary-first", "s 0+100; p 0+100 > 0+100; held 0" },
    { "one-at-primary",
      "p 0+100; s 0+30; s 30+69; s 99+1 > 0+100; p 100+5; s 100+5 > 100+5" },
    { "one-at-secondary", "p 0+30; s 0+100 > 0+30; p 30+70 > 30+70" },
    { "other-cuts",
      "p 0+30; p 30+30; p 60+40; s 0+50 > 0+30; s 50+50 > 30+30, 60+40" },
    { "secondary-out-of-order",
      "p 0+9; s 0+9 > 0+9; p 9+91; s 50+50; s 30+20; s 9+21 > 9+91" },
    { "primary-out-of-order",
      "p 0+9; s 0+100 > 0+9; p 50+50; p 9+41 > 50+50, 9+41" },
    { "secondary-overlaps",
      "p 0+100; s 0+40; s 20+40; s 10+80; s 85+15 > 0+100; held 0" },
    { "primary-overlaps",
      "p 0+60; p 40+60; s 0+70 > 0+60; s 70+30 > 40+60; held 0" },
    { "hole-at-secondary", "p 0+9; s 0+9 > 0+9; p 9+91; s 10+90; held 1" },
    { "secondary-repeats", "p 0+50; s 0+50 > 0+50; s 0+50; s 20+30; "
      "p 50+9; s 50+9 > 50+9" },
    { "primary-repeats-released", "p 0+50; s 0+50 > 0+50; p 0+50 > 0+50; "
      "p 10+20 > 10+20; p 49+1 > 49+1; held 0" },
    { "primary-repeats-held", "p 0+9; s 0+9 > 0+9; p 9+50; p 9+50; merged 1; "
      "held 1; s 9+50 > 9+50" },
    { "primary-repeats-at-the-begin", "p 0+50; p 0+50; merged 1; held 1; "
      "s 0+50 > 0+50" },
    { "repeated-with-newer-ack", "p 0+50 a1; p 0+50 a7; merged 1; "
      "s 0+50 a7 > 0+50 a7" },
    { "padding-is-no-data", "p 0+1; s 0+1 > 0+1; p 1+5; s 1+5 > 1+5" },
    { "flows-do-not-mix",
      "p 0+50; s 0+50 #1; p 0+50 #1 > 0+50 #1; s 0+50 > 0+50" },
    { "neither-window-nor-timestamp-counts",
      "p 0+50 t10 w9; s 0+50 t20 w10 > 0+50 t10 w9" },
    { "the-smaller-window", "p 0+50 w9; s 0+50 w8 > 0+50 w8" },
    { "insane-place", "p 0+9; s 0+9 > 0+9; p 3000000000+9; held 1" },
};

static const Script mismatch[] = {
    { "byte", "p 0+50; s 0+50 x49 ! mismatch payload; held 1; "
      "p 50+9; s 0+50; s 50+9; held 2" },
    { "byte-behind-good-ones", "p 0+50; s 0+40; p 50+10; "
      "s 40+20 x55 ! mismatch payload; held 2" },
    { "first-byte-of-a-cut", "p 0+50; s 0+25; s 25+25 x25 "
      "! mismatch payload" },
    { "fin-at-primary", "p 0+50 F; s 0+51 ! mismatch fin" },
    { "fin-at-secondary", "p 0+51; s 0+50 F ! mismatch fin" },
    { "nothing-leaves-any-more", "p 0+50; s 0+50 x1 ! mismatch payload; "
      "p 50+0 a9; s 50+0 a9; p 50+0; held 3; "
      "tick 999999; tick 1 ! timeout" },
    { "asked-once", "p 0+50; s 0+50 x1 ! mismatch payload; p 0+50 #1; "
      "s 0+50 #1 x1; s 50+9 x50; p 0+9 #2; s 0+9 #2 > 0+9 #2" },
    { "over-at-the-cut", "p 0+50; s 0+50 x1 ! mismatch payload; p 50+9; cut 1; "
      "release 1 > 0+50, 50+9; epoch 1; p 59+9; s 59+9 > 59+9; "
      "p 68+9; s 68+9 x68 ! mismatch payload" },
};

/* ------------------------------------------------------- acknowledgements */

static const Script acks[] = {
    { "both", "p 0+0 a10; s 0+0 a10 > 0+0 a10; held 0" },
    { "secondary-ahead", "s 0+0 a30; p 0+0 a10 > 0+0 a10; "
      "p 0+0 a20 > 0+0 a20" },
    { "lowered-to-the-secondary's", "p 0+0 a20; s 0+0 a10 w300 "
      "> 0+0 a10 w300; made 1; s 0+0 a20 > 0+0 a20; held 0" },
    { "duplicates-leave", "p 0+0 a10; s 0+0 a10 > 0+0 a10; "
      "p 0+0 a10 > 0+0 a10; p 0+0 a10 > 0+0 a10; p 0+0 a5 > 0+0 a5" },
    { "newest-is-kept", "p 0+0 a10; s 0+0 a10 > 0+0 a10; p 0+0 a20; "
      "p 0+0 a30; p 0+0 a40; held 1; merged 2; s 0+0 a40 > 0+0 a40" },
    { "older-does-not-replace", "p 0+0; s 0+0 > 0+0; p 0+0 a40; p 0+0 a30; "
      "s 0+0 a40 > 0+0 a40; merged 1" },
    { "data-with-lowered-ack", "p 0+50 a20; s 0+50 a10 > 0+50 a10; made 1; "
      "s 50+0 a15 > 50+0 a15; s 50+0 a20 > 50+0 a20; held 0" },
    { "data-brings-the-ack", "p 0+50; s 0+50 > 0+50; p 50+0 a20; "
      "p 50+9 a20; s 50+9 a20 > 50+9 a20; held 0" },
    { "repeated-data-with-lowered-ack", "p 0+50 a5; s 0+50 a5 > 0+50 a5; "
      "p 0+50 a9 > 0+50 a5; s 50+0 a9 > 50+0 a9" },
    { "no-place-beyond-what-is-proven", "p 0+50; s 0+0; "
      "p 50+0 a5 > 0+0; s 0+0 a5 > 0+0 a5; s 0+50 a5 > 0+50" },
    { "nothing-known-of-the-secondary", "p 0+0 a10; p 0+0 a11; held 1; "
      "s 0+0 a11 > 0+0 a11" },
    { "one-that-goes-on-hides-nobody", "p 0+0; s 0+0 > 0+0; p 0+0 a20; "
      "tick 500000; p u1; tick 400000; s 0+0 a10 > 0+0 a10; tick 599999; "
      "tick 1 ! timeout" },
    { "what-has-left-waits-no-more", "p 0+0; s 0+0 > 0+0; p 0+0 a10; "
      "tick 600000; p 0+0 a20; p 0+9 a10; s 0+9 a10 > 0+9 a10; "
      "tick 999999; tick 1 ! timeout" },
    { "the-client-waits-since-the-first", "p 0+0; s 0+0 > 0+0; p 0+0 a10; "
      "tick 600000; p 0+0 a20; tick 399999; tick 1 ! timeout" },
    { "window-update", "p 0+0; s 0+0 > 0+0; p 0+0 w9 > 0+0 w9" },
    { "keep-alive", "p 0+9; s 0+9 > 0+9; p 8+0 > 8+0; p 8+1 > 8+1" },
    { "no-older-time-behind-a-newer", "p 0+0 t10; s 0+0 > 0+0 t10; "
      "p 0+0 a9 t11; p 0+5 t12; s 0+5 > 0+5 t12; s 5+0 a9 > 0+0 a9 t12" },
    { "no-newer-time-before-held-data", "p 0+0 t10; s 0+0 > 0+0 t10; "
      "p 0+5 t11; p 5+0 t20 > 0+0 t11; s 0+5 > 0+5 t11; "
      "p 5+0 t21 > 5+0 t21" },
};

/* --------------------------------------------------- halves of segments */

static const Script split[] = {
    { "after-a-while", "p 0+100; s 0+60; tick 999; tick 1 > 0+60; made 1; "
      "s 60+40 > 60+40; held 0; matched 1" },
    { "the-next-half", "p 0+100; s 0+60; tick 1000 > 0+60; s 60+20; "
      "tick 999; tick 1 > 60+20; s 80+20 > 80+20" },
    { "not-when-it-went-on", "p 0+100; s 0+60; tick 500; s 60+40 > 0+100; "
      "tick 5000" },
    { "without-fin", "p 0+100 F; s 0+100; tick 1000 > 0+100; "
      "s 100+0 F > 100+0 F" },
    { "with-the-ack-of-both", "p 0+100 a9; s 0+60 a5; "
      "tick 1000 > 0+60 a5; s 60+40 a9 > 60+40 a9" },
    { "big-at-once", "p 0+5000 g1000; s 0+1000; "
      "s 1000+1000 > 0+2000 g1000; s 2000+1000; "
      "s 3000+1000 > 2000+2000 g1000; s 4000+1000 > 4000+1000; held 0" },
    { "big-in-one", "p 0+5000 g1000; s 0+5000 g1000 > 0+5000 g1000" },
    { "repeated-in-larger-pieces", "p 0+100; p 50+100; s 0+60; "
      "tick 1000 > 0+60, 50+10; s 60+90 > 60+40, 60+90" },
    { "diverged", "p 0+100; s 0+60; s 60+40 x70 ! mismatch payload; "
      "tick 1000" },
};

/* -------------------------------------------------------- begin and end */

static const Script handshake[] = {
    { "passive", "p S a1; s S a1 > S a1; p 0+9 a1; s 0+9 a1 > 0+9 a1" },
    { "active", "p S n; s S n > S n; p 0+0 a1; s 0+0 a1 > 0+0 a1; "
      "p 0+9 a1; s 0+9 a1 > 0+9 a1" },
    { "secondary-first", "s S a1; p S a1 > S a1; p 0+9; s 0+9 > 0+9" },
    { "secondary-ahead", "s S a1; s 0+9 a1; p S a1 > S a1; "
      "p 0+9 a1 > 0+9 a1" },
    { "repeated-while-held", "p S a1; p S a1; merged 1; s S a1 > S a1; "
      "s S a1; s S T a1; held 0" },
    { "repeated-later", "p S a1; s S a1 > S a1; p S a1 > S a1; s S a1; "
      "p 0+9 a1; s 0+9 a1 > 0+9 a1" },
    { "ack-lowered", "p S a9; s S a1 > S a1; s 0+0 a9 > 0+0 a9" },
    { "with-data", "p S +5 a1; s S +5 a1 > S +5 a1; p 5+5 a1; "
      "s 5+5 a1 > 5+5 a1" },
    { "data-only-at-primary", "p S +5 a1; s S a1; s 0+5 a1 > S +5 a1" },
    { "data-only-at-secondary", "p S a1; s S +5 a1 > S a1; "
      "p 0+5 a1 > 0+5 a1" },
    { "ack-before-the-twin", "p S a1; p 0+0 a2; s S a2 > S a1, 0+0 a2" },
    { "other-mss", "p S a1; s S a1 m1200 ! mismatch syn; held 1" },
    { "other-scale", "p S a1; s S a1 o ! mismatch syn" },
    { "other-timestamps", "p S a1; s S a1 t5 ! mismatch syn" },
    { "timestamp-value-is-its-own", "p S a1 t7; s S a1 t5 > S a1 t7" },
    { "other-flags", "p S a1; s S n ! mismatch syn" },
    { "only-at-primary", "p S a1; s 0+9; p 0+9; held 2; "
      "tick 1000000 ! timeout" },
    { "old-frames-of-the-secondary", "p 0+9; s 0+9 > 0+9; p S a1 i1; s 9+0; "
      "s 9+9; s S a1 i1 > S a1 i1; p 0+9 a1 i1; "
      "s 0+9 a1 i1 > 0+9 a1 i1" },
    { "at-a-cut", "p S a1; cut 1; epoch 1; release 1 > S a1; "
      "p 0+9 a1; s 0+9 a1 > 0+9 a1; s S T a1; p 9+9; s 9+9 > 9+9" },
};

static const Script ports_again[] = {
    { "after-fin", "p S a1; s S a1 > S a1; p 0+9 F a1; "
      "s 0+9 F a1 > 0+9 F a1; p S a1 i1; s S a1 i1 > S a1 i1; "
      "p 0+9 a1 i1; s 0+9 a1 i1 > 0+9 a1 i1" },
    { "secondary-ahead", "p S a1; s S a1 > S a1; s S a1 i1; "
      "p 0+0 a1 > 0+0 a1; p S a1 i1 > S a1 i1" },
    { "something-is-held", "p 0+9; s 0+0; p S a1 i1 ! mismatch syn; held 2; "
      "cut 1; release 1 > 0+9, S a1 i1; epoch 1; p 0+9 i1; "
      "s 0+9 i1 > 0+9 i1" },
    { "lives-as-long-as-the-first", "p S a1; s S a1 > S a1; p 0+0 F a1; "
      "s 0+0 F a1 > 0+0 F a1; p S a1 i1; s S a1 i1 > S a1 i1; "
      "tick 4000000; flows 1; tick 10000000; flows 0" },
};

static const Script fin[] = {
    { "both", "p 0+9 F; s 0+9 F > 0+9 F; held 0" },
    { "alone", "p 0+9; p 9+0 F; s 0+9 F > 0+9, 9+0 F" },
    { "in-a-cut", "p 0+9 F; s 0+9; s 9+0 F > 0+9 F" },
    { "acks-behind-it", "p 0+9 F; s 0+9 F > 0+9 F; p 10+0 a1; "
      "s 10+0 a1 > 10+0 a1" },
    { "repeated", "p 0+9 F; s 0+9 F > 0+9 F; p 0+9 F > 0+9 F; s 0+9 F" },
    { "missing", "p 0+9 F; s 0+9; tick 1000 > 0+9; tick 999000 ! timeout; "
      "held 1" },
};

static const Script rst[] = {
    { "both", "p 0+9; s 0+9 > 0+9; p 9+0 R; s 9+0 R > 9+0 R; held 0" },
    { "secondary-first", "p 0+9; s 0+9 > 0+9; s 9+0 R; p 9+0 R > 9+0 R" },
    { "refused", "p z R a7; s z R a7 > z R a7; p z R a9; held 1; "
      "s z R a9 > z R a9; s z R a8; p z R a8 > z R a8; held 0" },
    { "refused-twice-before-the-twin", "p z R a7; p z R a9; held 2; "
      "s z R a7 > z R a7; s z R a9 > z R a9" },
    { "repeated", "p 9+0 R a7; s 9+0 R a7 > 9+0 R a7; p 9+0 R a7 > 9+0 R a7; "
      "s 9+0 R a7; p 9+0 R a9 > 9+0 R a7; held 0" },
    { "repeated-behind-a-cut", "p 0+9; s 0+9 > 0+9; p 9+0 R a3; cut 1; "
      "p 9+0 R a5; release 1 > 9+0 R a3, 9+0 R a3" },
    { "refused-where-there-was-a-stream", "p 0+9; s 0+9 > 0+9; cut 1; "
      "epoch 1; release 1; p z R a7; s z R a7 > z R a7; held 0" },
    { "answers-to-strays", "p 5+0 R n; s 5+0 R n > 5+0 R n; p 9+0 R n; "
      "s 9+0 R n > 9+0 R n; held 0" },
    { "another-place", "p 0+9; s 0+9 > 0+9; p 9+0 R; s 5+0 R "
      "! mismatch rst; held 1" },
    { "data-before-it", "p 0+0; s 0+0 > 0+0; p 0+9; p 9+0 R; s 0+9 > 0+9; "
      "s 9+0 R > 9+0 R" },
    { "data-before-it-is-missing", "p 0+0; s 0+0 > 0+0; p 0+9; p 9+0 R; "
      "s 9+0 R; held 2" },
    { "only-at-primary", "p 9+0 R; tick 1000000 ! timeout; held 1" },
    { "only-at-secondary", "p 0+9; s 0+9 > 0+9; s 9+0 R; p 9+0 > 9+0; "
      "cut 1; epoch 1; release 1; p 9+0 R; held 1" },
    { "then-a-new-connection", "p S a1; s S a1 > S a1; p 0+0 R a1; "
      "s 0+0 R a1 > 0+0 R a1; p S a1 i1; s S a1 i1 > S a1 i1; "
      "p 0+9 a1 i1; s 0+9 a1 i1 > 0+9 a1 i1" },
};

/* ------------------------------------------------- a begin never seen */

static const Script begin[] = {
    { "primary-repeats-first", "p 0+100; s 50+100; p 100+50; held 2; "
      "cut 1; release 1 > 0+100, 100+50; epoch 1; p 150+9; "
      "s 150+9 > 150+9" },
    { "primary-reordered-first", "p 50+50; s 0+100 > 50+50; p 0+50; "
      "p 40+20; held 2; tick 5000; p 100+9; s 100+9 > 100+9; cut 1; "
      "release 1 > 0+50, 40+20; epoch 1; p 0+50 > 0+50" },
    { "secondary-ack-overtakes", "s 9+0; p 0+9; held 1; s 0+9 > 0+9" },
    { "acks-need-no-begin", "p 9+0 a5; s 0+0 a5 > 9+0 a5; p 0+9 a5; "
      "s 0+9 a5 > 0+9 a5" },
    { "keep-alive-first", "p 8+0; s 9+0 > 8+0; cut 1; release 1; epoch 1; "
      "p 9+9; s 9+9 > 9+9" },
    { "secondary-repeats-first", "p 50+50; s 0+100 > 50+50; p 0+9; "
      "held 1" },
    { "alone-it-waits", "p 0+9; p 9+0; held 2; tick 1000000 ! timeout" },
    { "no-hole-is-jumped", "p 0+9; s 0+9 > 0+9; p 9+9; s 18+9; held 1" },
    { "not-behind-a-gap", "gap; p 0+9; s 9+9; p 9+9; held 2; cut 1; "
      "release 1 > 0+9, 9+9; epoch 1; p 18+9; s 18+9 > 18+9" },
    { "not-in-place-of-a-forgotten-one", "p 0+9; s 0+9 > 0+9; s 9+9; "
      "tick 20000000; p 9+9 > 9+9; p 18+9; s 18+9 > 18+9" },
    { "settled-by-a-cut", "p 0+9; cut 1; epoch 1; release 1 > 0+9; "
      "p 9+9; s 9+9 > 9+9" },
    { "only-at-the-secondary-until-a-cut", "s 9+9; cut 1; epoch 1; release 1; "
      "p 0+9; s 0+9 > 0+9" },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    script_add("/tcp/stream", stream, G_N_ELEMENTS(stream));
    script_add("/tcp/mismatch", mismatch, G_N_ELEMENTS(mismatch));
    script_add("/tcp/acks", acks, G_N_ELEMENTS(acks));
    script_add("/tcp/split", split, G_N_ELEMENTS(split));
    script_add("/tcp/handshake", handshake, G_N_ELEMENTS(handshake));
    script_add("/tcp/ports-again", ports_again, G_N_ELEMENTS(ports_again));
    script_add("/tcp/fin", fin, G_N_ELEMENTS(fin));
    script_add("/tcp/rst", rst, G_N_ELEMENTS(rst));
    script_add("/tcp/begin", begin, G_N_ELEMENTS(begin));
    return g_test_run();
}
