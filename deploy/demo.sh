#!/bin/sh
# Orders of every kind against the running system, then the audit of all its books.
set -eu

run() {
    printf '\n$ saga'
    printf ' %s' "$@"
    printf '\n'
    saga "$@" || [ $? = 1 ] # 1: the order was rejected, which some here must be
}

run restock demo-teapot 10 --name 'Demo teapot' --price 12.50EUR
run place --customer alice --item demo-teapot=2
run place --customer bob --item demo-teapot=1 --token tok_declined
run place --customer carol --item demo-teapot=100
run place --customer dave --item demo-teapot=1 --token tok_answer_lost
run place --customer erin --item demo-teapot=1 --token tok_capture_declined
run orders --limit 12

# Customers keep coming: the audit waits for a moment in which no order is in progress.
printf '\n$ saga audit --wait 60\n'
exec saga audit --wait 60
