//! Notifications.

use super::Values::Named;

const RECEIVER: super::Values = Named("a receiver, as the configuration calls it");

super::table! {
    NOTIFY_METRICS: "Notifications"
    Counter NOTIFY_DELIVERED = "chancery_notifications_delivered_total" { receiver: RECEIVER }
        "Notifications acknowledged by their receiver.";
    Counter NOTIFY_FAILED = "chancery_notifications_failed_total" { receiver: RECEIVER }
        "Attempts to deliver a notification that failed.";
    Counter NOTIFY_GIVEN_UP = "chancery_notifications_given_up_total" { receiver: RECEIVER }
        "Notifications that are not tried any more and became dead letters.";
    Counter NOTIFY_DROPPED = "chancery_notifications_dropped_total" {}
        "Notifications not kept because too many waited for their receiver.";
    Gauge NOTIFY_WAITING = "chancery_notifications_waiting" { receiver: RECEIVER } "Notifications waiting.";
    Gauge NOTIFY_OLDEST_SECONDS = "chancery_notifications_oldest_waiting_seconds" {}
        "How long the oldest waiting notification has waited.";
    Gauge NOTIFY_DEAD = "chancery_notifications_dead" {} "Notifications that were given up and not forgotten yet.";
    Gauge NOTIFY_ROTATIONS_LEFT = "chancery_notifications_rotations_left_out" {}
        "1 while more rotations do not go on by themselves than are looked at, else 0.";
}
