# One image for all of Pinloop's own services; docker-compose.yml says which one a container runs.
# Plain Dockerfile syntax on purpose: it builds on Docker 20.10 and where no registry is reachable.
ARG PYTHON_IMAGE=python:3.14-slim

FROM ${PYTHON_IMAGE} AS services
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The dependencies change seldom: a layer of their own, so that a change of the code does not load them again.
COPY pyproject.toml ./
RUN python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" \
      > /tmp/requirements.txt \
 && pip install --root-user-action=ignore -r /tmp/requirements.txt \
 && rm /tmp/requirements.txt

# A volume takes the owner of the folder that it is first mounted on; the user ids are those of pinloop/setup.py.
RUN install -d -o 10001 -g 10001 /data/listener \
 && install -d -o 10002 -g 10002 /data/rules \
 && install -d -o 10003 -g 10003 /data/webhook \
 && install -d -o 10004 -g 10004 /data/hub \
 && install -d -o 10005 -g 10005 /data/devices

COPY . .
RUN pip install --root-user-action=ignore --no-deps . && rm -rf build
USER 10001:10001

# The same with MicroPython, for virtual devices. Where the distribution has no such package CPython runs the firmware.
FROM services AS devices
USER 0:0
RUN apt-get update \
 && (apt-get install -y --no-install-recommends micropython || echo "no micropython package here: CPython runs it") \
 && rm -rf /var/lib/apt/lists/*
USER 10005:10005
