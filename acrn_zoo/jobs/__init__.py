"""Jobs on a cluster: submitted by ``slurm/launch.py`` through submitit, preempted, resumed, looked after.

Only this room and the launcher know clusters; what a job does, a task, knows none (:mod:`acrn_zoo.jobs.task`).
"""
